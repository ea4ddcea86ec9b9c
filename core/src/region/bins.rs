//! The index of free runs by size: one list head a bin, one bit a bin that
//! is not empty (two-level segregated fit: Masmano et al., ECRTS 2004).
//!
//! Lengths below 64 have a bin each; above, eight bins a doubling.

/// Number of bins: 64 exact ones and eight for each of 24 doublings.
pub(crate) const BINS: usize = 256;

/// "No run" in lists and heads.
pub(crate) const NIL: u32 = u32::MAX;

/// Heads of the lists of free runs, by size.
pub(crate) struct Bins {
    heads: [u32; BINS],
    occupied: [u64; BINS / 64],
}

/// The bin of runs as long as `len`, at least 1.
#[inline]
pub(crate) const fn bin_of(len: u32) -> usize {
    if len < 64 {
        return len as usize;
    }
    let log = len.ilog2();
    let bin = 64 + (log as usize - 6) * 8 + ((len >> (log - 3)) & 7) as usize;
    if bin < BINS { bin } else { BINS - 1 }
}

impl Bins {
    pub(crate) const fn new() -> Self {
        Self { heads: [NIL; BINS], occupied: [0; BINS / 64] }
    }

    /// First run of `bin`, or [`NIL`].
    #[inline]
    pub(crate) fn head(&self, bin: usize) -> u32 {
        self.heads[bin]
    }

    /// Makes `run` (or [`NIL`]) the first of `bin`.
    #[inline]
    pub(crate) fn set_head(&mut self, bin: usize, run: u32) {
        self.heads[bin] = run;
        let bit = 1 << (bin % 64);
        if run == NIL {
            self.occupied[bin / 64] &= !bit;
        } else {
            self.occupied[bin / 64] |= bit;
        }
    }

    /// Whether a bin's bit says that it is not empty.
    pub(crate) fn is_occupied(&self, bin: usize) -> bool {
        self.occupied[bin / 64] >> (bin % 64) & 1 != 0
    }

    /// The first bin from `bin` upwards that is not empty.
    #[inline]
    pub(crate) fn next_occupied(&self, bin: usize) -> Option<usize> {
        if bin >= BINS {
            return None;
        }
        let mut word = bin / 64;
        let mut bits = self.occupied[word] & (!0 << (bin % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::surroundings::unless_miri;

    #[test]
    fn bins_are_monotonic_and_tight() {
        let mut last = 0;
        for len in 1..unless_miri(200_000, 2_000) as u32 {
            let bin = bin_of(len);
            assert!(bin == last || bin == last + 1);
            last = bin;
        }
        assert_eq!(bin_of((1 << 30) - 1), BINS - 1);
    }

    #[test]
    fn finds_the_next_occupied_bin() {
        let mut bins = Bins::new();
        assert_eq!(bins.next_occupied(0), None);
        bins.set_head(255, 7);
        bins.set_head(63, 9);
        assert_eq!(bins.next_occupied(1), Some(63));
        assert_eq!(bins.next_occupied(64), Some(255));
        assert!(bins.is_occupied(63) && bins.is_occupied(255) && !bins.is_occupied(64));
        bins.set_head(255, NIL);
        assert!(!bins.is_occupied(255));
        assert_eq!(bins.next_occupied(64), None);
        assert_eq!(bins.next_occupied(BINS), None);
    }
}
