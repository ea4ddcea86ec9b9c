//! Many small objects at once.
//!
//! After SmartHeap's `sh6bench` and `sh8bench` (MicroQuill): each thread takes
//! a burst of small objects and frees it; in the second, threads also free
//! what others took. The rpmalloc benchmark exchanges bursts like this, too.

use super::{SCALE, SHARED, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share, together};
use std::mem;
use std::sync::Mutex;

/// Blocks of a burst.
const LENGTH: usize = 5000;

/// Freed by who took them.
pub(crate) const OWN: Workload = Workload {
    name: "burst",
    about: "a block of 16 to 128 bytes, in bursts of 5,000, every other one freed late",
    threads: SCALE,
    operations: 10_000_000,
    run: |threads, operations| bursts(threads, operations, |_, burst| halves(burst)),
};

/// Freed by whoever comes next.
pub(crate) const ACROSS: Workload = Workload {
    name: "burst-across",
    about: "the same, each burst swapped for another thread's first",
    threads: SHARED,
    operations: 8_000_000,
    run: |threads, operations| {
        // Fewer places than threads: bursts come from somebody else.
        let places: Vec<_> = (0..threads.div_ceil(2)).map(|_| Mutex::new(Vec::new())).collect();
        bursts(threads, operations, |random, burst| {
            let place = &places[random.below(places.len())];
            let mut place = place.lock().expect("nobody panics while holding a place");
            let other = mem::replace(&mut *place, burst);
            drop(place);
            halves(other);
        })
    },
};

/// Frees every other block, then the rest in reverse.
fn halves(burst: Vec<Block>) {
    let mut late = Vec::with_capacity(burst.len().div_ceil(2));
    for (at, block) in burst.into_iter().enumerate() {
        if at % 2 == 0 {
            drop(block);
        } else {
            late.push(block);
        }
    }
    while late.pop().is_some() {}
}

fn bursts(threads: usize, operations: u64, end: impl Fn(&mut Random, Vec<Block>) + Sync) -> Took {
    together(threads, |number| {
        let mut random = Random::new(number);
        let mut left = share(operations, threads);
        while left > 0 {
            let now = left.min(LENGTH as u64);
            let burst = (0..now).map(|_| Block::new(16 + random.below(113))).collect();
            end(&mut random, burst);
            left -= now;
        }
    })
}
