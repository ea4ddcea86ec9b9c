//! The coalescing engine: runs of granules, free or used.
//!
//! Invariants (numbers as in `DESIGN.md`):
//! - R1: below the watermark every granule belongs to exactly one run;
//! - R2: two free runs are never neighbours (they merge when the second one
//!   becomes free);
//! - R3: a run is in a bin exactly when it is free, and in the bin of its
//!   length.
//!
//! The engine knows granules by index only. Where boundary marks and links
//! are kept is the [`Granules`] it is given: page descriptors for regions of
//! pages; in the free memory itself for a small heap. All operations are O(1)
//! but the search within a bin, which takes the run at the lowest address, so
//! that memory packs low, and looks at [`SCAN`] runs at most unless memory
//! would have to grow otherwise.

use super::bins::{Bins, NIL, bin_of};

/// Runs looked at in one bin for the lowest address.
const SCAN: u32 = 64;

/// How hard to look for a run that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// At [`SCAN`] runs a bin: one that fits may be overlooked behind others
    /// that are too short or not aligned.
    Quick,
    /// At all of them: nothing that fits is overlooked.
    Thorough,
}

/// What is known of the contents of a free run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Whether any granule may hold old contents: not known to be zero.
    pub dirty: bool,
    /// Whether any granule may have memory behind it worth giving back.
    pub resident: bool,
    /// When the run was last added to, in the environment's milliseconds.
    pub since: u32,
}

/// Where boundary marks, links and stamps of runs are kept.
///
/// # Safety
///
/// Implementor: a value read is the one last written under the same index,
/// and [`free_run_ending_at`](Self::free_run_ending_at) and
/// [`free_run_at`](Self::free_run_at) answer for granules below the watermark
/// according to the last `mark_free` or `mark_used` that covered them.
pub(crate) unsafe trait Granules {
    /// Start of the free run whose last granule is `end - 1`, if that one is
    /// free. `end` may be 0.
    fn free_run_ending_at(&self, end: u32) -> Option<u32>;
    /// Length of the free run that starts at `start`, if one does. `start`
    /// may be the watermark.
    fn free_run_at(&self, start: u32) -> Option<u32>;
    /// Forgets the marks of a run: it is about to merge or to change length.
    fn unmark(&self, start: u32, len: u32);
    /// Marks a run as free.
    fn mark_free(&self, start: u32, len: u32);
    /// Marks a run as used.
    fn mark_used(&self, start: u32, len: u32);
    /// Next and previous free run in the bin of a free run.
    fn links(&self, start: u32) -> (u32, u32);
    /// Sets next and previous.
    fn set_links(&self, start: u32, next: u32, previous: u32);
    /// Stamp of a free run.
    fn stamp(&self, start: u32) -> Stamp;
    /// Sets the stamp.
    fn set_stamp(&self, start: u32, stamp: Stamp);
}

/// A run taken out of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub start: u32,
    pub dirty: bool,
}

/// What alignment a run must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// Length in granules, at least 1.
    pub len: u32,
    /// Alignment in granules, a power of two.
    pub align: u32,
    /// Absolute number of granule 0, modulo any alignment asked for.
    pub phase: usize,
}

impl Fit {
    /// First index from `start` on that is aligned. May exceed `u32`.
    #[inline]
    pub(crate) fn first_aligned(&self, start: u32) -> u64 {
        let align = self.align as usize;
        let absolute = self.phase.wrapping_add(start as usize);
        u64::from(start) + (absolute.wrapping_neg() & (align - 1)) as u64
    }

    fn fits(&self, start: u32, len: u32) -> bool {
        self.first_aligned(start) + u64::from(self.len) <= u64::from(start) + u64::from(len)
    }
}

/// The free runs of one region.
pub(crate) struct Runs {
    pub(super) bins: Bins,
    free: u32,
}

impl Runs {
    pub(crate) const fn new() -> Self {
        Self { bins: Bins::new(), free: 0 }
    }

    /// Granules in free runs.
    pub(crate) fn free_granules(&self) -> u32 {
        self.free
    }

    /// Takes a run, or `None` when the search finds none that fits (R1 and R3
    /// kept: what is cut off goes back into its bin).
    pub(crate) fn take<G: Granules>(
        &mut self,
        granules: &G,
        fit: Fit,
        search: Search,
    ) -> Option<Taken> {
        let mut from = bin_of(fit.len);
        loop {
            let bin = self.bins.next_occupied(from)?;
            if let Some(start) = self.lowest_fitting(granules, bin, fit, search) {
                return Some(self.carve(granules, start, fit));
            }
            from = bin + 1;
        }
    }

    fn lowest_fitting<G: Granules>(
        &self,
        granules: &G,
        bin: usize,
        fit: Fit,
        search: Search,
    ) -> Option<u32> {
        let mut best = None;
        let mut at = self.bins.head(bin);
        let mut looked = 0;
        while at != NIL && (looked < SCAN || search == Search::Thorough) {
            let len = granules.free_run_at(at).unwrap_or(0);
            if fit.fits(at, len) && best.is_none_or(|lowest| at < lowest) {
                best = Some(at);
            }
            at = granules.links(at).0;
            looked += 1;
        }
        best
    }

    fn carve<G: Granules>(&mut self, granules: &G, start: u32, fit: Fit) -> Taken {
        let (len, stamp) = self.remove(granules, start);
        let first = fit.first_aligned(start) as u32;
        let end = first + fit.len;
        if first > start {
            self.insert(granules, start, first - start, stamp);
        }
        if end < start + len {
            self.insert(granules, end, start + len - end, stamp);
        }
        granules.mark_used(first, fit.len);
        Taken { start: first, dirty: stamp.dirty }
    }

    /// Gives a used run back, merging it with its free neighbours (R2). The
    /// merged run is dirty when any part is.
    pub(crate) fn give<G: Granules>(&mut self, granules: &G, start: u32, len: u32, stamp: Stamp) {
        let (mut start, mut len, mut stamp) = (start, len, stamp);
        granules.unmark(start, len);
        if let Some(before) = granules.free_run_ending_at(start) {
            let (length, neighbour) = self.remove(granules, before);
            start = before;
            len += length;
            stamp.dirty |= neighbour.dirty;
            stamp.resident |= neighbour.resident;
        }
        if granules.free_run_at(start + len).is_some() {
            let (length, neighbour) = self.remove(granules, start + len);
            len += length;
            stamp.dirty |= neighbour.dirty;
            stamp.resident |= neighbour.resident;
        }
        self.insert(granules, start, len, stamp);
    }

    /// Grows the used run `[start, start + len)` into the free run behind it.
    /// Returns whether what was added may be dirty, `None` when it cannot.
    pub(crate) fn grow<G: Granules>(
        &mut self,
        granules: &G,
        start: u32,
        len: u32,
        new_len: u32,
    ) -> Option<bool> {
        let end = start + len;
        let behind = granules.free_run_at(end)?;
        let need = new_len - len;
        if behind < need {
            return None;
        }
        let (_, stamp) = self.remove(granules, end);
        if behind > need {
            self.insert(granules, end + need, behind - need, stamp);
        }
        granules.unmark(start, len);
        granules.mark_used(start, new_len);
        Some(stamp.dirty)
    }

    /// Cuts the used run `[start, start + len)` down to `new_len`, at least 1,
    /// and frees the rest.
    pub(crate) fn shrink<G: Granules>(
        &mut self,
        granules: &G,
        start: u32,
        len: u32,
        new_len: u32,
        stamp: Stamp,
    ) {
        granules.unmark(start, len);
        granules.mark_used(start, new_len);
        self.give(granules, start + new_len, len - new_len, stamp);
    }

    /// Takes the free run that ends at `end` out of its bin, whole, and marks
    /// it used: the watermark is about to move past it.
    pub(crate) fn take_last<G: Granules>(
        &mut self,
        granules: &G,
        end: u32,
    ) -> Option<(u32, Stamp)> {
        let start = granules.free_run_ending_at(end)?;
        let (len, stamp) = self.remove(granules, start);
        granules.mark_used(start, len);
        Some((start, stamp))
    }

    /// The first free run, in bins from that of `min_len` up, for which
    /// `wanted` holds; taken out and marked used.
    pub(crate) fn take_matching<G: Granules>(
        &mut self,
        granules: &G,
        min_len: u32,
        wanted: impl Fn(Stamp) -> bool,
    ) -> Option<(u32, u32)> {
        let mut from = bin_of(min_len);
        while let Some(bin) = self.bins.next_occupied(from) {
            let mut at = self.bins.head(bin);
            while at != NIL {
                if wanted(granules.stamp(at)) && granules.free_run_at(at) >= Some(min_len) {
                    let (len, _) = self.remove(granules, at);
                    granules.mark_used(at, len);
                    return Some((at, len));
                }
                at = granules.links(at).0;
            }
            from = bin + 1;
        }
        None
    }

    fn insert<G: Granules>(&mut self, granules: &G, start: u32, len: u32, stamp: Stamp) {
        let bin = bin_of(len);
        let head = self.bins.head(bin);
        granules.mark_free(start, len);
        granules.set_links(start, head, NIL);
        granules.set_stamp(start, stamp);
        if head != NIL {
            let (next, _) = granules.links(head);
            granules.set_links(head, next, start);
        }
        self.bins.set_head(bin, start);
        self.free += len;
    }

    fn remove<G: Granules>(&mut self, granules: &G, start: u32) -> (u32, Stamp) {
        let len = granules.free_run_at(start).unwrap_or(0);
        let (next, previous) = granules.links(start);
        if previous == NIL {
            self.bins.set_head(bin_of(len), next);
        } else {
            let (_, before) = granules.links(previous);
            granules.set_links(previous, next, before);
        }
        if next != NIL {
            let (after, _) = granules.links(next);
            granules.set_links(next, after, previous);
        }
        granules.unmark(start, len);
        self.free -= len;
        (len, granules.stamp(start))
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
