//! A flag for each page of the arena's, set and asked in ranges: what costs a
//! step for each page takes most of the time in Miri, where a step is some
//! microseconds and a heap commits thousands of pages.

use core::ops::Range;
use std::vec::Vec;

use crate::base::bytes::is_all;

/// Bytes, which are filled and compared as one.
pub(super) struct PageFlags(Vec<u8>);

impl PageFlags {
    /// As many flags as pages, all of them `set` or none.
    pub(super) fn new(pages: usize, set: bool) -> Self {
        Self(std::vec![u8::from(set); pages])
    }

    pub(super) fn set(&mut self, pages: Range<usize>) {
        self.0[pages].fill(1);
    }

    /// Whether each of these is set.
    pub(super) fn all(&self, pages: Range<usize>) -> bool {
        is_all(&self.0[pages], 1)
    }

    /// Calls `each` with the pages that are not set, in pieces, in order.
    pub(super) fn unset(&self, pages: Range<usize>, each: &mut impl FnMut(Range<usize>)) {
        let flags = &self.0[pages.clone()];
        if is_all(flags, 0) {
            each(pages);
        } else if !is_all(flags, 1) {
            let middle = pages.start + pages.len() / 2;
            self.unset(pages.start..middle, each);
            self.unset(middle..pages.end, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_found() {
        let mut flags = PageFlags::new(100, false);
        flags.set(3..4);
        flags.set(10..90);
        assert!(flags.all(3..4) && flags.all(20..90) && flags.all(7..7));
        assert!(!flags.all(2..4) && !flags.all(3..5) && !flags.all(0..100));
        let mut unset = Vec::new();
        flags.unset(0..100, &mut |pages| unset.extend(pages));
        assert_eq!(unset, (0..3).chain(4..10).chain(90..100).collect::<Vec<_>>());
        PageFlags::new(7, true).unset(0..7, &mut |_| panic!("all are set"));
    }
}
