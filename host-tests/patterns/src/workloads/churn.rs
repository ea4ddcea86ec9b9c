//! A working set of 1,024 blocks in which any may be the next to go.
//!
//! After `alloc-test` (Beldaev; also in the mimalloc benchmarks), which
//! replaces random slots, with mixes of sizes such as traces of programs show:
//! few sizes and small ones make most requests, large ones most bytes (Wilson
//! and others, 1995; Hunter and others, "Beyond malloc efficiency to fleet
//! efficiency", OSDI 2021, figure 2).

use super::{SCALE, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share, together};

/// Blocks in the set of one thread.
const SLOTS: usize = 1024;

/// A part of a mix: how many of 100 requests, and their sizes.
struct Part {
    percent: usize,
    from: usize,
    to: usize,
}

const fn part(percent: usize, from: usize, to: usize) -> Part {
    Part { percent, from, to }
}

/// A program of many small objects: nodes, strings, closures.
const OBJECTS: &[Part] =
    &[part(30, 16, 32), part(25, 33, 48), part(20, 49, 64), part(20, 65, 128), part(5, 129, 512)];

/// A server: mostly small, some buffers.
const BUFFERS: &[Part] = &[
    part(40, 16, 64),
    part(30, 65, 256),
    part(15, 257, 1024),
    part(10, 1025, 4096),
    part(4, 4097, 16_384),
    part(1, 16_385, 65_536),
];

/// Everything up to 256 KiB, small ones a little more often.
const ALL: &[Part] = &[
    part(30, 16, 256),
    part(25, 257, 2048),
    part(25, 2049, 16_384),
    part(15, 16_385, 65_536),
    part(5, 65_537, 262_144),
];

/// Small objects.
pub(crate) const SMALL: Workload = Workload {
    name: "churn-small",
    about: "one of 1,024 blocks a thread replaced, 16 to 512 bytes, most below 64",
    threads: SCALE,
    operations: 8_000_000,
    run: |threads, operations| replace(threads, operations, OBJECTS),
};

/// A server's mix.
pub(crate) const SERVER: Workload = Workload {
    name: "churn-server",
    about: "the same, 16 bytes to 64 KiB, most below 256",
    threads: SCALE,
    operations: 4_000_000,
    run: |threads, operations| replace(threads, operations, BUFFERS),
};

/// A wide mix.
pub(crate) const WIDE: Workload = Workload {
    name: "churn-wide",
    about: "the same, 16 bytes to 256 KiB, half below 2 KiB",
    threads: SCALE,
    operations: 1_200_000,
    run: |threads, operations| replace(threads, operations, ALL),
};

/// A size of the mix.
#[inline]
fn draw(mix: &[Part], random: &mut Random) -> usize {
    let mut percent = random.below(100);
    for part in mix {
        if percent < part.percent {
            return part.from + random.below(part.to - part.from + 1);
        }
        percent -= part.percent;
    }
    mix[0].from
}

fn replace(threads: usize, operations: u64, mix: &[Part]) -> Took {
    together(threads, |number| {
        let mut random = Random::new(number);
        let mut set: Vec<Option<Block>> = (0..SLOTS).map(|_| None).collect();
        for _ in 0..share(operations, threads) {
            let slot = &mut set[random.below(SLOTS)];
            // First freed, then taken: at most so many live.
            *slot = None;
            *slot = Some(Block::new(draw(mix, &mut random)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_add_up() {
        for mix in [OBJECTS, BUFFERS, ALL] {
            assert_eq!(mix.iter().map(|part| part.percent).sum::<usize>(), 100);
            let mut random = Random::new(1);
            let (low, high) = (mix[0].from, mix[mix.len() - 1].to);
            assert!((0..10_000).all(|_| (low..=high).contains(&draw(mix, &mut random))));
        }
    }
}
