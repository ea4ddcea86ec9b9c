//! A small generator: the same numbers on every allocator, in no time.

/// A xorshift generator (Marsaglia, "Xorshift RNGs", 2003).
pub(crate) struct Random(u64);

impl Random {
    /// A generator; different seeds give different sequences.
    pub(crate) fn new(seed: usize) -> Random {
        Random((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number below `limit`, which is not 0.
    #[inline]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high half times the limit: no division in the measured loop.
        (((self.0 >> 32) * limit as u64) >> 32) as usize
    }
}
