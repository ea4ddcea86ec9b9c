//! Units: pages and the arithmetic on them.
//!
//! granule's *page* is its own unit of large memory, 4 KiB everywhere. The
//! machine's page, which a [`PageProvider`](crate::PageProvider) reports, may
//! be larger; only commit, purge and release care, and they round.

/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes in one granule page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// A number of granule pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PageCount(pub(crate) u32);

impl PageCount {
    /// The most pages of a run: what a boundary tag can express (4 TiB), and
    /// on 32-bit machines as many as have a number of bytes.
    pub(crate) const MAX: usize = {
        let (tag, bytes) = ((1 << 30) - 1, usize::MAX >> PAGE_SHIFT);
        if tag < bytes { tag } else { bytes }
    };

    /// The pages that `bytes` need, rounded up; `None` above 2^30 - 1 pages
    /// (4 TiB), or where their bytes would overflow.
    #[must_use]
    #[inline]
    pub const fn covering(bytes: usize) -> Option<Self> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        if pages <= Self::MAX { Some(Self(pages as u32)) } else { None }
    }

    /// The bytes in these pages.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> usize {
        (self.0 as usize) << PAGE_SHIFT
    }

    /// The bare number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// `value` rounded up to a multiple of `align`, a power of two. `None` on
/// overflow.
#[must_use]
#[inline]
pub const fn align_up(value: usize, align: usize) -> Option<usize> {
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// `value` rounded down to a multiple of `align`, a power of two.
#[must_use]
#[inline]
pub const fn align_down(value: usize, align: usize) -> usize {
    value & !(align - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_number_of_bytes() {
        let most = PageCount::MAX << PAGE_SHIFT;
        assert_eq!(PageCount::covering(most).map(PageCount::bytes), Some(most));
        assert_eq!(PageCount::covering(most + 1), None);
        assert_eq!(PageCount::covering(usize::MAX), None);
        assert_eq!(PageCount::covering(PAGE_SIZE + 1), Some(PageCount(2)));
    }
}
