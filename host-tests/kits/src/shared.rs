//! Pools of all threads.

use std::hint::black_box;
use std::thread;

use granule::Granule;
use granule::pools::SharedPool;

use crate::{Contest, Way};

type Value = [u64; 8];

/// Values that a thread holds at a time.
const HELD: u64 = 32;

fn on_threads(threads: usize, times: usize, work: impl Fn(u64) + Sync) {
    let rounds = times as u64 / HELD / threads as u64;
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| (0..rounds).for_each(&work));
        }
        (0..rounds).for_each(&work);
    });
}

fn batch(about: &'static str, threads: usize) -> Contest {
    let pool: &SharedPool<Value, _> = Box::leak(Box::new(SharedPool::new_in(Granule::new())));
    let slab = sharded_slab::Slab::<Value>::new();
    Contest {
        about,
        times: 400_000,
        ways: vec![
            Way::ours("SharedPool", move |times| {
                on_threads(threads, times, |number| {
                    let held: [_; HELD as usize] =
                        std::array::from_fn(|_| pool.alloc([number; 8]).expect("memory"));
                    black_box(&held);
                });
            }),
            Way::other("sharded-slab", move |times| {
                on_threads(threads, times, |number| {
                    let keys: [_; HELD as usize] =
                        std::array::from_fn(|_| slab.insert([number; 8]).expect("room"));
                    for key in black_box(keys) {
                        assert!(slab.remove(key));
                    }
                });
            }),
            Way::other("Box", move |times| {
                on_threads(threads, times, |number| {
                    let held: [_; HELD as usize] = std::array::from_fn(|_| Box::new([number; 8]));
                    black_box(&held);
                });
            }),
        ],
    }
}

pub(crate) fn contests() -> Vec<Contest> {
    vec![
        batch("32 values of 64 bytes taken and given back, one thread", 1),
        batch("the same, two threads", 2),
        batch("the same, eight threads", 8),
    ]
}
