//! Small blocks that stay with their thread.

use super::Workload;
use crate::block::Block;
use crate::random::Random;
use crate::team::together;

/// The fastest path there is, and nothing else.
pub(crate) const PAIR: Workload = Workload {
    name: "pair64",
    about: "64 bytes taken and given back at once",
    threads: &[1, 2],
    operations: 15_000_000,
    run: |threads, operations| {
        together(threads, |_| {
            for _ in 0..operations {
                drop(Block::new(64));
            }
        })
    },
};

/// A working set of mixed sizes in which any block may be the next to go.
pub(crate) const SET: Workload = Workload {
    name: "set1024",
    about: "one of 1,024 blocks of 16 to 1,024 bytes replaced",
    threads: &[1, 2],
    operations: 6_000_000,
    run: |threads, operations| {
        together(threads, |number| {
            let mut random = Random::new(number);
            let mut set: Vec<Option<Block>> = (0..1024).map(|_| None).collect();
            for _ in 0..operations {
                let slot = &mut set[random.below(1024)];
                // First freed, then taken: at most 1,024 live.
                *slot = None;
                *slot = Some(Block::new(16 + random.below(1009)));
            }
        })
    },
};

/// Many sizes taken, then given back in reverse, as a tree of calls does.
pub(crate) const BATCH: Workload = Workload {
    name: "batch",
    about: "a block of 16 bytes to 32 KiB, in batches freed in reverse",
    threads: &[1, 2],
    operations: 800_000,
    run: |threads, operations| {
        together(threads, |number| {
            let mut random = Random::new(number);
            let mut stack = Vec::with_capacity(BATCH_LENGTH);
            let mut left = operations;
            while left > 0 {
                let now = left.min(BATCH_LENGTH as u64);
                for _ in 0..now {
                    // Every power of two equally often: small ones dominate.
                    let power = 16 << random.below(11);
                    stack.push(Block::new(power + random.below(power)));
                }
                while stack.pop().is_some() {}
                left -= now;
            }
        })
    },
};

/// Blocks in a batch.
const BATCH_LENGTH: usize = 256;
