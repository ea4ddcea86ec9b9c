//! Random programs: sequences of actions on a heap, from a seed.

use std::alloc::Layout;

use granule_core::Config;

use super::{Fill, Free, Shadow};

/// A small generator (`xorshift64*`), so that a seed is a program for ever.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From any seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// A size as programs ask for: mostly small, now and then up to `most`.
    pub fn size(&mut self, most: usize) -> usize {
        match self.below(64) {
            0 => 0,
            1..40 => 1 + self.below(256),
            40..56 => 1 + self.below(4096),
            56..62 => 1 + self.below(40_000),
            _ => 1 + self.below(most),
        }
    }

    /// A layout of such a size; mostly of small alignment.
    pub fn layout(&mut self, most: usize) -> Layout {
        let shift = match self.below(16) {
            0 => self.below(17),
            1..4 => 4 + self.below(4),
            _ => self.below(5),
        };
        Layout::from_size_align(self.size(most), 1 << shift).expect("a valid layout")
    }
}

/// Does `steps` random things to the shadow's heap, with about `blocks` live.
/// Memory may run out; returns how often it did.
pub fn play<C: Config>(
    shadow: &mut Shadow<'_, C>,
    random: &mut Random,
    steps: usize,
    blocks: usize,
    most: usize,
) -> usize {
    let mut failures = 0;
    for _ in 0..steps {
        let number = random.below(1 << 20);
        let grow = shadow.len() < random.below(2 * blocks);
        let done = match random.below(8) {
            0 => shadow.realloc(number, random.size(most)),
            _ if !grow => {
                let how = [Free::Sized, Free::Unsized, Free::NoLock][number % 3];
                shadow.free(number / 3, how);
                true
            }
            // May fail at any time, which is no lack of memory.
            2 => {
                shadow.alloc(random.layout(most), Fill::NoLock);
                true
            }
            1 => shadow.alloc(random.layout(most), Fill::Zero),
            _ => shadow.alloc(random.layout(most), Fill::Any),
        };
        failures += usize::from(!done);
    }
    failures
}
