//! Pools of one thread.

use std::hint::black_box;

use granule::Granule;
use granule::pools::{ObjectCache, Pool, Pooled};

use crate::{Contest, Way};

/// A value of 64 bytes.
type Value = [u64; 8];

/// Values that live at a time.
const LIVE: usize = 1024;

/// A cheap sequence of places.
fn next(state: &mut u32) -> usize {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 16) as usize % LIVE
}

fn for_ever<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn pair() -> Contest {
    let pool = for_ever(Pool::<Value, _>::new_in(Granule::new()));
    let mut slab = slab::Slab::<Value>::new();
    Contest {
        about: "a value of 64 bytes put in and taken out at once",
        times: 1_000_000,
        ways: vec![
            Way::ours("Pool", |times| {
                for number in 0..times as u64 {
                    drop(black_box(pool.alloc([number; 8]).expect("memory")));
                }
            }),
            Way::other("slab", move |times| {
                for number in 0..times as u64 {
                    let key = black_box(slab.insert([number; 8]));
                    slab.remove(key);
                }
            }),
            Way::other("Box", |times| {
                for number in 0..times as u64 {
                    drop(black_box(Box::new([number; 8])));
                }
            }),
        ],
    }
}

fn churn() -> Contest {
    let pool = for_ever(Pool::<Value, _>::new_in(Granule::new()));
    let mut pooled: Vec<Option<Pooled<'static, Value, _>>> = (0..LIVE).map(|_| None).collect();
    let mut slab = slab::Slab::<Value>::new();
    let mut keys = vec![None; LIVE];
    let mut boxes: Vec<Option<Box<Value>>> = vec![None; LIVE];
    let (mut a, mut b, mut c) = (1, 1, 1);
    Contest {
        about: "one of 1,024 values of 64 bytes replaced at random, and read",
        times: 1_000_000,
        ways: vec![
            Way::ours("Pool", move |times| {
                for number in 0..times as u64 {
                    let place = &mut pooled[next(&mut a)];
                    let old = place.take().map_or(0, |value| value[3]);
                    *place = Some(pool.alloc([number ^ old; 8]).expect("memory"));
                }
            }),
            Way::other("slab", move |times| {
                for number in 0..times as u64 {
                    let place = &mut keys[next(&mut b)];
                    let old = place.take().map_or(0, |key| slab.remove(key)[3]);
                    *place = Some(slab.insert([number ^ old; 8]));
                }
            }),
            Way::other("Box", move |times| {
                for number in 0..times as u64 {
                    let place = &mut boxes[next(&mut c)];
                    let old = place.take().map_or(0, |value| value[3]);
                    *place = Some(Box::new([number ^ old; 8]));
                }
            }),
        ],
    }
}

fn objects() -> Contest {
    let make = || vec![0u8; 4096];
    let cache = for_ever(ObjectCache::new_in(make, Granule::new()));
    let simple = object_pool::Pool::new(8, make);
    let linear = lockfree_object_pool::LinearObjectPool::new(make, |_| {});
    Contest {
        about: "a vector of 4 KiB borrowed and given back",
        times: 1_000_000,
        ways: vec![
            Way::ours("ObjectCache", |times| {
                for number in 0..times {
                    black_box(cache.get().expect("memory"))[number % 4096] = 1;
                }
            }),
            Way::other("object-pool", move |times| {
                for number in 0..times {
                    black_box(simple.pull(make))[number % 4096] = 1;
                }
            }),
            Way::other("lockfree-object-pool, linear", move |times| {
                for number in 0..times {
                    black_box(linear.pull())[number % 4096] = 1;
                }
            }),
        ],
    }
}

pub(crate) fn contests() -> Vec<Contest> {
    vec![pair(), churn(), objects()]
}
