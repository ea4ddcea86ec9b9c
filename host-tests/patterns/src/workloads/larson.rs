//! A server whose threads hand their objects on.
//!
//! After Larson and Krishnan, "Memory Allocation for Long-Running Server
//! Applications", ISMM 1998: each thread replaces random blocks of its own
//! set; then it ends, and a new thread takes over the set, so that most blocks
//! are freed by another thread than took them.

use super::{SCALE, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share};
use std::thread::{self, Scope};
use std::time::Instant;

/// Blocks in a set.
const SLOTS: usize = 1000;
/// Replacements by one thread.
const LIFE: u64 = 25_000;

/// The server.
pub(crate) const LARSON: Workload = Workload {
    name: "larson",
    about: "one of 1,000 blocks of 8 to 1,000 bytes replaced, the set handed to a new thread",
    threads: SCALE,
    operations: 5_000_000,
    run,
};

fn run(threads: usize, operations: u64) -> Took {
    let mut random = Random::new(threads);
    // All taken by this thread, as the original does.
    let sets: Vec<Vec<Block>> =
        (0..threads).map(|_| (0..SLOTS).map(|_| Block::new(size(&mut random))).collect()).collect();
    let started = Instant::now();
    thread::scope(|scope| {
        for (number, set) in sets.into_iter().enumerate() {
            let (random, left) = (Random::new(number), share(operations, threads));
            scope.spawn(move || live(scope, set, random, left));
        }
    });
    started.elapsed().into()
}

/// One thread's life.
fn live<'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut set: Vec<Block>,
    mut random: Random,
    left: u64,
) {
    let now = left.min(LIFE);
    for _ in 0..now {
        let slot = random.below(SLOTS);
        set[slot] = Block::new(size(&mut random));
    }
    if left > now {
        scope.spawn(move || live(scope, set, random, left - now));
    }
}

fn size(random: &mut Random) -> usize {
    8 + random.below(993)
}
