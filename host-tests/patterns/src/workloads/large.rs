//! Blocks of many pages, and blocks that grow to that.

use super::Workload;
use crate::block::Block;
use crate::random::Random;
use crate::team::together;
use std::collections::VecDeque;

/// Bytes of a large block.
const LARGE: usize = 1 << 20;
/// Pages of it that are used: a buffer is rarely filled.
const TOUCHED: usize = 4;

/// A buffer taken, used at its start, and given back.
pub(crate) const BLOCK: Workload = Workload {
    name: "large",
    about: "1 MiB taken, four pages touched, given back",
    threads: &[1, 2],
    operations: 400_000,
    run: |threads, operations| {
        together(threads, |_| {
            for _ in 0..operations {
                Block::new(LARGE).touch_pages(TOUCHED);
            }
        })
    },
};

/// The same with sixteen live, the oldest going first.
pub(crate) const RING: Workload = Workload {
    name: "large-ring",
    about: "the same with the last sixteen blocks live",
    threads: &[1],
    operations: 400_000,
    run: |threads, operations| {
        together(threads, |_| {
            let mut ring = VecDeque::with_capacity(16);
            for _ in 0..operations {
                if ring.len() == 16 {
                    ring.pop_front();
                }
                let mut block = Block::new(LARGE);
                block.touch_pages(TOUCHED);
                ring.push_back(block);
            }
        })
    },
};

/// Buffers appended to in turn: they grow by half, in each other's way.
pub(crate) const GROW: Workload = Workload {
    name: "grow",
    about: "one of four buffers grown by half, up to 1 MiB",
    threads: &[1],
    operations: 40_000,
    run: |threads, operations| {
        together(threads, |number| {
            let mut random = Random::new(number);
            let mut buffers: Vec<_> = (0..4).map(|_| (Block::new(32), 32)).collect();
            for _ in 0..operations {
                let (block, size) = &mut buffers[random.below(4)];
                if *size > LARGE {
                    (*block, *size) = (Block::new(32), 32);
                }
                *size += *size / 2;
                block.resize(*size);
                block.write(*size - 1);
            }
        })
    },
};
