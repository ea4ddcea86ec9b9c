//! Blocks taken by the batch and given back in some order.
//!
//! After the orders that every survey starts with (Wilson, Johnstone, Neely
//! and Boles, "Dynamic Storage Allocation: A Survey and Critical Review",
//! 1995): stacks, queues, and no order at all.

use super::{SCALE, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share, together};
use std::collections::VecDeque;

/// Blocks in a batch.
const LENGTH: usize = 1000;

/// As a tree of calls does.
pub(crate) const LIFO: Workload = Workload {
    name: "lifo",
    about: "a block of 16 to 512 bytes, in batches of 1,000, the newest freed first",
    threads: SCALE,
    operations: 10_000_000,
    run: |threads, operations| {
        batches(threads, operations, small, |blocks, _| while blocks.pop_back().is_some() {})
    },
};

/// As a queue does.
pub(crate) const FIFO: Workload = Workload {
    name: "fifo",
    about: "the same, the oldest freed first",
    threads: SCALE,
    operations: 10_000_000,
    run: |threads, operations| {
        batches(threads, operations, small, |blocks, _| while blocks.pop_front().is_some() {})
    },
};

/// As nobody in particular does.
pub(crate) const RANDOM: Workload = Workload {
    name: "random",
    about: "the same, freed in random order",
    threads: SCALE,
    operations: 8_000_000,
    run: |threads, operations| {
        batches(threads, operations, small, |blocks, random| {
            while !blocks.is_empty() {
                blocks.swap_remove_back(random.below(blocks.len()));
            }
        })
    },
};

/// Many sizes in the way of each other.
pub(crate) const WIDE: Workload = Workload {
    name: "lifo-wide",
    about: "a block of 16 bytes to 32 KiB, in batches of 1,000, the newest freed first",
    threads: &[1, 16],
    operations: 2_000_000,
    run: |threads, operations| {
        batches(threads, operations, wide, |blocks, _| while blocks.pop_back().is_some() {})
    },
};

fn small(random: &mut Random) -> usize {
    16 + random.below(497)
}

/// Every power of two equally often: small ones dominate.
fn wide(random: &mut Random) -> usize {
    let power = 16 << random.below(11);
    power + random.below(power)
}

fn batches(
    threads: usize,
    operations: u64,
    size: fn(&mut Random) -> usize,
    free: fn(&mut VecDeque<Block>, &mut Random),
) -> Took {
    together(threads, |number| {
        let mut random = Random::new(number);
        let mut blocks = VecDeque::with_capacity(LENGTH);
        let mut left = share(operations, threads);
        while left > 0 {
            let now = left.min(LENGTH as u64);
            blocks.extend((0..now).map(|_| Block::new(size(&mut random))));
            free(&mut blocks, &mut random);
            left -= now;
        }
    })
}
