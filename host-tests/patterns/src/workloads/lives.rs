//! Threads that live shortly: each gets caches or an arena of its own and
//! leaves it behind.
//!
//! After `threadtest` of the Hoard paper (Berger and others, 2000) with the
//! short lives of `larson`, and glibc's bug reports on arenas that stay.

use super::{SCALE, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share, together};
use std::thread;

/// Blocks of one life.
const BLOCKS: usize = 300;

/// Threads one after the other, several at a time.
pub(crate) const LIVES: Workload = Workload {
    name: "short-lives",
    about: "a thread started, 300 blocks of 16 to 1,024 bytes taken and freed, ended",
    threads: SCALE,
    operations: 5_000,
    run,
};

fn run(threads: usize, operations: u64) -> Took {
    together(threads, |number| {
        for life in 0..share(operations, threads) {
            let seed = number * 10_000 + life as usize;
            let ended = thread::spawn(move || {
                let mut random = Random::new(seed);
                let blocks: Vec<_> =
                    (0..BLOCKS).map(|_| Block::new(16 + random.below(1009))).collect();
                drop(blocks);
            })
            .join();
            ended.expect("a thread that only allocates does not panic");
        }
    })
}
