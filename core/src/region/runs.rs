//! The coalescing engine: runs of granules, free or used.
//!
//! Invariants (numbers as in `DESIGN.md`):
//! - R1: below the watermark every granule belongs to exactly one run;
//! - R2: two free runs are never neighbours (they merge when the second one
//!   becomes free);
//! - R3: a run is in a bin exactly when it is free, and in the bin of its
//!   length;
//! - R4: the dirty granules of a free run lie in its span of dirty ones, those
//!   with memory behind them in its span of resident ones, and the lengths of
//!   the latter add up to the count of resident granules.
//!
//! The engine knows granules by index only. Where boundary marks and links
//! are kept is the [`Granules`] it is given: page descriptors for regions of
//! pages; in the free memory itself for a small heap. All operations are O(1)
//! but the search within a bin, which takes the run at the lowest address, so
//! that memory packs low, and looks at [`SCAN`] runs at most unless memory
//! would have to grow otherwise.
//!
//! Where a free run is dirty, and where it has memory behind it, is kept as one
//! span each, from the first to the last such granule. Runs are cut from the low
//! end, and what is purged is mostly the high end, so the spans stay tight.

use core::ops::Range;

use super::bins::{Bins, NIL, bin_of};
use super::span::Span;

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

/// What is known of the contents of a free run. Of one that is given the spans
/// may be wider than the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Where it is not known to be zero: every granule that may hold old
    /// contents lies in here.
    pub dirty: Span,
    /// Where it may have memory behind it worth giving back, likewise.
    pub resident: Span,
    /// When it became free, in the environment's milliseconds; of several parts, the
    /// largest one.
    pub since: u32,
}

impl Stamp {
    /// Zero, and nothing behind it, for ever.
    pub(super) const CLEAN: Self = Self { dirty: Span::NONE, resident: Span::NONE, since: 0 };

    /// What it says of the run of `len` granules at `start`.
    #[inline]
    fn clip(&mut self, start: u32, len: u32) {
        self.dirty = self.dirty.within(start, len);
        self.resident = self.resident.within(start, len);
    }

    /// What it says together with that of a neighbour, each of its own run. As old as
    /// the one of which more is resident: a little that comes and goes beside much that
    /// is idle must not keep that from being purged, and what is purged too early is
    /// less than what was due.
    #[inline]
    fn merge(&mut self, neighbour: Stamp) {
        if neighbour.resident.len() > self.resident.len() {
            self.since = neighbour.since;
        }
        self.dirty = self.dirty.hull(neighbour.dirty);
        self.resident = self.resident.hull(neighbour.resident);
    }
}

/// Where boundary marks, links and stamps of runs are kept.
///
/// # Safety
///
/// Implementor: a value read is the one last written under the same index,
/// and [`free_run_ending_at`](Self::free_run_ending_at) and
/// [`free_run_at`](Self::free_run_at) answer for granules below the watermark
/// according to the last `mark_free` or `mark_used` that covered them.
/// Links and stamps are written and read only while their run is marked free.
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
    /// Where it is not known to be zero, and where it may have memory.
    pub stamp: Stamp,
}

impl Taken {
    /// Of a free run, or several, whose stamp this is.
    #[inline]
    pub(super) fn new(start: u32, len: u32, mut stamp: Stamp) -> Self {
        stamp.clip(start, len);
        Self { start, stamp }
    }
}

/// What becomes of a free run that a walk comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// It stays.
    Pass,
    /// This part of it is taken.
    Take(Span),
    /// It stays, as do all behind it in its bin.
    NextBin,
    /// It stays, and the walk ends.
    End,
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
    resident: u32,
}

impl Runs {
    pub(crate) const fn new() -> Self {
        Self { bins: Bins::new(), free: 0, resident: 0 }
    }

    /// Granules in free runs.
    pub(crate) fn free_granules(&self) -> u32 {
        self.free
    }

    /// Granules of these that may have memory behind them.
    pub(crate) fn resident_granules(&self) -> u32 {
        self.resident
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
        let first = fit.first_aligned(start) as u32;
        let stamp = self.cut_out(granules, start, Span { start: first, end: first + fit.len });
        Taken::new(first, fit.len, stamp)
    }

    /// Gives a used run back, merging it with its free neighbours (R2).
    pub(crate) fn give<G: Granules>(&mut self, granules: &G, start: u32, len: u32, stamp: Stamp) {
        let (mut start, mut len, mut stamp) = (start, len, stamp);
        stamp.clip(start, len);
        granules.unmark(start, len);
        if let Some(before) = granules.free_run_ending_at(start) {
            let (length, neighbour) = self.remove(granules, before);
            start = before;
            len += length;
            stamp.merge(neighbour);
        }
        if granules.free_run_at(start + len).is_some() {
            let (length, neighbour) = self.remove(granules, start + len);
            len += length;
            stamp.merge(neighbour);
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
        Some(!stamp.dirty.within(end, need).is_empty())
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

    /// Walks over the free runs of `lens` granules, bin by bin, and takes the parts
    /// out that `choose` wants of them (given start, length and stamp); marked used. In
    /// each bin those that have memory behind them come first.
    pub(crate) fn take_parts<G: Granules>(
        &mut self,
        granules: &G,
        lens: &Range<u32>,
        mut choose: impl FnMut(u32, u32, Stamp) -> Choice,
    ) {
        let (mut from, last) = (bin_of(lens.start), bin_of(lens.end - 1));
        while let Some(bin) = self.bins.next_occupied(from).filter(|&bin| bin <= last) {
            let mut at = self.bins.head(bin);
            while at != NIL {
                let len = granules.free_run_at(at).unwrap_or(0);
                // What is left of a run comes to an end of its bin, not behind it.
                let next = granules.links(at).0;
                if lens.contains(&len) {
                    match choose(at, len, granules.stamp(at)) {
                        Choice::Pass => {}
                        Choice::Take(part) => drop(self.cut_out(granules, at, part)),
                        Choice::NextBin => break,
                        Choice::End => return,
                    }
                }
                at = next;
            }
            from = bin + 1;
        }
    }

    /// Takes a part of the free run at `start` out and marks it used. Returns
    /// the stamp of the whole.
    fn cut_out<G: Granules>(&mut self, granules: &G, start: u32, part: Span) -> Stamp {
        let (len, stamp) = self.remove(granules, start);
        let end = start + len;
        if part.start > start {
            self.insert(granules, start, part.start - start, stamp);
        }
        if part.end < end {
            self.insert(granules, part.end, end - part.end, stamp);
        }
        granules.mark_used(part.start, part.len());
        stamp
    }

    /// Puts a run into its bin: in front, or behind all others where nothing is behind
    /// it, so that nobody who looks for memory walks over what has none. The first run's
    /// link backwards leads to the last one.
    fn insert<G: Granules>(&mut self, granules: &G, start: u32, len: u32, mut stamp: Stamp) {
        let bin = bin_of(len);
        let head = self.bins.head(bin);
        granules.mark_free(start, len);
        stamp.clip(start, len);
        if head == NIL {
            granules.set_links(start, NIL, start);
            self.bins.set_head(bin, start);
        } else {
            let (_, last) = granules.links(head);
            let is_clean = stamp.resident.is_empty();
            granules.set_links(start, if is_clean { NIL } else { head }, last);
            if is_clean {
                let (_, before) = granules.links(last);
                granules.set_links(last, start, before);
            } else {
                self.bins.set_head(bin, start);
            }
            let (next, _) = granules.links(head);
            granules.set_links(head, next, start);
        }
        granules.set_stamp(start, stamp);
        self.free += len;
        self.resident += stamp.resident.len();
    }

    fn remove<G: Granules>(&mut self, granules: &G, start: u32) -> (u32, Stamp) {
        let len = granules.free_run_at(start).unwrap_or(0);
        let bin = bin_of(len);
        let (head, (next, previous)) = (self.bins.head(bin), granules.links(start));
        if start == head {
            self.bins.set_head(bin, next);
        } else {
            let (_, before) = granules.links(previous);
            granules.set_links(previous, next, before);
        }
        // Who comes next leads back to who came before; of the last that is the first.
        let follower = if next != NIL { next } else { head };
        if follower != start {
            let (after, _) = granules.links(follower);
            granules.set_links(follower, after, previous);
        }
        let stamp = granules.stamp(start);
        granules.unmark(start, len);
        self.free -= len;
        self.resident -= stamp.resident.len();
        (len, stamp)
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
