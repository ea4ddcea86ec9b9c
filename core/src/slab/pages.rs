//! The pages of a slab: which of them hold no object in use, and which of those
//! have been given back.
//!
//! Nothing is kept of pages but the bits of `purged`: whether a page is free says
//! the bitmap, asked for the objects that touch it.
//!
//! ```text
//! pages    ┌ 0 ┬ 1 ┬ 2 ┬ 3 ┐
//! objects  ┌c┬ a ┬ b ┬ c ┬ d ┐   page 1 is free when b and those it cuts are
//! ```

use core::ops::Range;

use super::header::{BadObject, Slab, WORD};
use crate::base::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE};

/// The bits of the pages `range`, not empty.
fn bits_of(range: &Range<u32>) -> u64 {
    u64::MAX << range.start & u64::MAX >> (64 - range.end)
}

/// See [`Slab::stretches`].
pub(super) struct Stretches {
    /// Free pages to come.
    free: u64,
    purged: u64,
    unit: u32,
    least: u32,
}

impl Iterator for Stretches {
    type Item = Range<u32>;

    fn next(&mut self) -> Option<Range<u32>> {
        loop {
            let start = self.free.trailing_zeros();
            if start == u64::BITS {
                return None;
            }
            let stretch = bits_of(&(start..start + (self.free >> start).trailing_ones()));
            self.free &= !stretch;
            let wanted = stretch & !self.purged;
            if wanted.count_ones() >= self.least {
                // Claims take pages of a unit one by one.
                let (start, end) = (wanted.trailing_zeros(), u64::BITS - wanted.leading_zeros());
                return Some(start - start % self.unit..end.next_multiple_of(self.unit));
            }
        }
    }
}

impl Slab {
    /// The objects that touch any of the pages `range`.
    fn objects_on(self, range: &Range<u32>) -> Range<u32> {
        let (colour, size) = (self.colour(), self.info().size as usize);
        let offset = |page: u32| (page as usize * PAGE_SIZE).saturating_sub(colour);
        let end = (offset(range.end).div_ceil(size) as u32).min(self.info().objects);
        (offset(range.start) / size) as u32..end
    }

    /// The pages that an object touches, a bit each.
    fn pages_of(self, index: u32) -> u64 {
        let size = self.info().size as usize;
        let first = self.colour() + index as usize * size;
        let last = first + size - 1;
        bits_of(&((first >> PAGE_SHIFT) as u32..(last >> PAGE_SHIFT) as u32 + 1))
    }

    /// The pages that any object touches, a bit each. Those before and behind may be
    /// purged along with their unit, but are not marked: no claim would unmark them.
    fn object_pages(self) -> u64 {
        let (first, last) = (self.pages_of(0), self.pages_of(self.info().objects - 1));
        bits_of(&(first.trailing_zeros()..u64::BITS - last.leading_zeros()))
    }

    /// Calls `with` with each word of the bitmap that the objects `range` are in, and
    /// their bits in it, until it returns an error.
    fn each_word<B>(
        range: Range<u32>,
        mut with: impl FnMut(u32, usize) -> Result<(), B>,
    ) -> Result<(), B> {
        let mut at = range.start;
        while at < range.end {
            let (word, end) = (at / WORD, range.end.min((at / WORD + 1) * WORD));
            let bits = usize::MAX >> (WORD - (end - at)) << (at % WORD);
            with(word, bits)?;
            at = end;
        }
        Ok(())
    }

    /// Whether every object that touches any of the pages `pages` is free.
    pub(super) fn are_free(self, pages: &Range<u32>) -> bool {
        let all_free =
            |word, bits| if self.free_bits(word) & bits == bits { Ok(()) } else { Err(()) };
        Self::each_word(self.objects_on(pages), all_free).is_ok()
    }

    /// The pages that hold objects, all of them free, a bit each; in units of
    /// `unit` pages, a power of two, of which all are such.
    fn free_pages(self, unit: u32) -> u64 {
        let units = (0..self.info().slab_pages).step_by(unit as usize);
        let units = units.map(|first| first..first + unit);
        let free = units.filter(|pages| !self.objects_on(pages).is_empty() && self.are_free(pages));
        free.fold(0, |free, pages| free | bits_of(&pages)) & self.object_pages()
    }

    /// What there is to purge: stretches of free pages, from the first that has
    /// not been given back to the last. Between two of them lies a page in use,
    /// so no object touches both. Of `least` pages that have not been, at least.
    pub(super) fn stretches(self, unit: u32, least: u32) -> Stretches {
        Stretches { free: self.free_pages(unit), purged: self.purged(), unit, least }
    }

    /// Claims all objects on a stretch of free pages. Returns how many.
    pub(super) fn take_pages(self, pages: &Range<u32>) -> usize {
        let objects = self.objects_on(pages);
        let count = objects.len();
        let taken = Self::each_word::<BadObject>(objects, |word, bits| {
            self.take(word, bits);
            Ok(())
        });
        debug_assert!(taken.is_ok(), "nothing fails");
        count
    }

    /// Makes them free again. Returns how many.
    ///
    /// # Errors
    ///
    /// When one is free already: somebody freed it twice.
    pub(super) fn give_pages(self, pages: &Range<u32>) -> Result<usize, BadObject> {
        let objects = self.objects_on(pages);
        let count = objects.len();
        Self::each_word(objects, |word, bits| self.release(word, bits)).map(|()| count)
    }

    /// Says that a stretch of free pages has been given back. Returns how many
    /// of them had not been before.
    pub(super) fn mark_purged(self, pages: &Range<u32>) -> u32 {
        let new = bits_of(pages) & self.object_pages() & !self.purged();
        self.set_purged(self.purged() | new);
        new.count_ones()
    }

    /// The pages outside of which all have been given back.
    pub(super) fn kept_pages(self) -> Range<u32> {
        let kept = !self.purged() & bits_of(&(0..self.info().slab_pages));
        if kept == 0 { 0..0 } else { kept.trailing_zeros()..u64::BITS - kept.leading_zeros() }
    }

    /// As [`claim`](Self::claim), but first of pages that have not been given
    /// back; those that are claimed of any more are no longer marked.
    #[cold]
    pub(super) fn claim_sparse(self, out: &[AtomicPtr<u8>]) -> usize {
        let purged = self.purged();
        let claimed = self.claim_where(out, |pages| pages & purged == 0);
        let mut left = purged;
        let rest = self.claim_where(&out[..out.len() - claimed], |pages| {
            left &= !pages;
            true
        });
        self.set_purged(left);
        claimed + rest
    }

    /// Claims the objects whose pages `wanted` wants.
    fn claim_where(self, out: &[AtomicPtr<u8>], mut wanted: impl FnMut(u64) -> bool) -> usize {
        let mut slots = out.iter().rev();
        let mut left = out.len();
        let mut summary = self.summary();
        while summary != 0 && left > 0 {
            let word = summary.trailing_zeros();
            let (mut bits, mut taken) = (self.free_bits(word), 0);
            while bits != 0 && left > 0 {
                let bit = bits & bits.wrapping_neg();
                let index = word * WORD + bits.trailing_zeros();
                bits &= !bit;
                if wanted(self.pages_of(index))
                    && let Some(slot) = slots.next()
                {
                    slot.store(self.object(index).as_ptr(), Relaxed);
                    taken |= bit;
                    left -= 1;
                }
            }
            if taken != 0 {
                self.take(word, taken);
            }
            summary &= summary - 1;
        }
        out.len() - left
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
