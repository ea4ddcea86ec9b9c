//! Blocks of many pages, and blocks that grow to that and shrink again.
//!
//! After `malloc-large` of the mimalloc benchmarks (large blocks replaced in
//! turn) and the loops around `realloc` of glibc's own.

use super::{SCALE, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{share, together};
use std::collections::VecDeque;

/// Bytes of a large block.
const LARGE: usize = 1 << 20;
/// Pages of it that are used: a buffer is rarely filled.
const TOUCHED: usize = 4;

/// A buffer taken, used at its start, and given back.
pub(crate) const BLOCK: Workload = Workload {
    name: "large",
    about: "1 MiB taken, four pages touched, given back",
    threads: SCALE,
    operations: 5_000_000,
    run: |threads, operations| {
        together(threads, |_| {
            for _ in 0..share(operations, threads) {
                Block::new(LARGE).touch_pages(TOUCHED);
            }
        })
    },
};

/// Buffers of many sizes with sixteen live, the oldest going first.
pub(crate) const RING: Workload = Workload {
    name: "large-ring",
    about: "64 KiB to 2 MiB, four pages touched, with the last sixteen blocks live",
    threads: &[1, 16],
    operations: 150_000,
    run: |threads, operations| {
        together(threads, |number| {
            let mut random = Random::new(number);
            let mut ring = VecDeque::with_capacity(16);
            for _ in 0..share(operations, threads) {
                if ring.len() == 16 {
                    ring.pop_front();
                }
                let mut block = Block::new((64 << 10) + random.below((2 << 20) - (64 << 10)));
                block.touch_pages(TOUCHED);
                ring.push_back(block);
            }
        })
    },
};

/// Buffers that grow by half and shrink by half, in each other's way.
pub(crate) const GROW: Workload = Workload {
    name: "grow",
    about: "one of four buffers grown by half up to 4 MiB, or shrunk by half on its way down",
    threads: SCALE,
    operations: 30_000,
    run: |threads, operations| {
        together(threads, |number| {
            let mut random = Random::new(number);
            let mut buffers: Vec<_> = (0..4).map(|_| (Block::new(32), Way::Up)).collect();
            for _ in 0..share(operations, threads) {
                let (block, way) = &mut buffers[random.below(4)];
                let size = match way {
                    Way::Up => block.size() + block.size() / 2,
                    Way::Down => block.size() / 2,
                };
                block.resize(size);
                block.write(size - 1);
                match size {
                    size if size > 4 * LARGE => *way = Way::Down,
                    size if size < 64 => *way = Way::Up,
                    _ => {}
                }
            }
        })
    },
};

/// Where a buffer's size is going.
enum Way {
    Up,
    Down,
}
