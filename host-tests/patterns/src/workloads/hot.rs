//! A block taken and given back at once, class by class: the fastest path
//! there is, and nothing else.
//!
//! After the simplest loop of every comparison, such as `malloc-simple` of
//! glibc's own benchmarks (`benchtests/bench-malloc-simple.c`).

use super::{SCALE, Workload};
use crate::block::Block;
use crate::team::{Took, share, together};

/// The workload of one size.
const fn pair<const SIZE: usize>(
    name: &'static str,
    about: &'static str,
    threads: &'static [usize],
    operations: u64,
) -> Workload {
    Workload { name, about, threads, operations, run: run::<SIZE> }
}

fn run<const SIZE: usize>(threads: usize, operations: u64) -> Took {
    together(threads, |_| {
        for _ in 0..share(operations, threads) {
            drop(Block::new(SIZE));
        }
    })
}

/// The smallest class.
pub(crate) const PAIR_16: Workload =
    pair::<16>("hot16", "16 bytes taken and given back at once", &[1], 20_000_000);
/// The most usual one.
pub(crate) const PAIR_64: Workload =
    pair::<64>("hot64", "64 bytes taken and given back at once", SCALE, 20_000_000);
/// Still small.
pub(crate) const PAIR_512: Workload =
    pair::<512>("hot512", "512 bytes taken and given back at once", &[1, 16], 20_000_000);
/// As large as a page.
pub(crate) const PAIR_4K: Workload =
    pair::<4096>("hot4k", "4 KiB taken and given back at once", &[1], 15_000_000);
/// At the end of what most allocators call small.
pub(crate) const PAIR_32K: Workload =
    pair::<{ 32 << 10 }>("hot32k", "32 KiB taken and given back at once", &[1, 16], 8_000_000);
/// A buffer.
pub(crate) const PAIR_256K: Workload =
    pair::<{ 256 << 10 }>("hot256k", "256 KiB taken and given back at once", &[1], 3_000_000);
/// A large buffer.
pub(crate) const PAIR_1M: Workload =
    pair::<{ 1 << 20 }>("hot1m", "1 MiB taken and given back at once", &[1, 16], 5_000_000);
