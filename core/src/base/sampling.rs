//! How often a block is put between guard pages.

/// Sampled guard pages, after GWP-ASan: now and then a block that is allocated
/// without a layout, or by one of more than 1 KiB, lies on pages of its own between
/// inaccessible ones, see `heap::sampled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// One in so many misses, in the mean, is sampled; 0 for none.
    pub rate: u32,
    /// Blocks that are live or wait to be used again, at most: 1 to
    /// [`MOST_SLOTS`](Self::MOST_SLOTS). Each takes 20 KiB of address space, and
    /// what of 16 KiB its blocks touch (with pages of 4 KiB).
    pub slots: u32,
}

impl Sampling {
    /// No block is sampled.
    pub const OFF: Self = Self { rate: 0, slots: 0 };

    /// What costs at most a hundredth: a sampled block takes some 10 µs, two
    /// changes of a mapping and a page fault, a thousand misses about a
    /// hundred times as much.
    pub const DEFAULT: Self = Self { rate: 1000, slots: 64 };

    /// Slots at most: each may split a mapping in three, of which Linux allows
    /// 65,530.
    pub const MOST_SLOTS: u32 = 4096;
}
