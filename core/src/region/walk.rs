//! The walk over all pages of all regions: the invariants of runs, verified.

use core::ptr::NonNull;

use super::bins::{BINS, NIL, bin_of};
use super::region::{Region, State};
use super::runs::Granules;
use super::set::Regions;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::units::PageCount;
use crate::base::violation::Violation;

/// A used run, as the walk comes by.
pub(crate) struct UsedRun {
    pub start: NonNull<u8>,
    pub pages: PageCount,
    /// The class of its first page's byte.
    pub class: Class,
}

impl<C: Config> Regions<C> {
    /// Verifies G1 and R1 to R4 of every region, and shows each used run.
    /// Under the lock of the set, for as long as it takes.
    pub(crate) fn walk(
        &self,
        mut show: impl FnMut(&UsedRun) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let found = self.find_region(|region| {
            // SAFETY: the lock is held by `find_region`, the one reference.
            let state = unsafe { region.state() };
            state.walk(region, &mut show).err()
        });
        found.map_or(Ok(()), Err)
    }
}

/// Free runs and their pages.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Free {
    runs: u32,
    pages: u32,
}

/// What the bins say.
struct Binned {
    free: Free,
    /// Pages that may have memory behind them.
    resident: u32,
}

impl State {
    fn walk(
        &self,
        region: &Region,
        show: &mut impl FnMut(&UsedRun) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let (top, tables) = (self.view.top, &region.tables);
        let marks = self.marks();
        let base = region.base.addr().get();
        let within = marks.top <= marks.committed
            && self.committed <= self.tables
            && self.tables <= region.pages;
        Violation::unless(within, "G1", "pages in use that are not committed", base)?;
        let mut free = Free::default();
        let mut after_free = false;
        let mut at = 0;
        while at < top {
            let here = region.page(at).addr().get();
            let ensure = |holds, invariant, found| Violation::unless(holds, invariant, found, here);
            let (is_free, len) = match (tables.free_run_at(at), tables.used_run_at(at)) {
                (Some(len), None) => (true, len),
                (None, Some(len)) => (false, len),
                _ => return ensure(false, "R1", "a page that is in no run"),
            };
            ensure(len > 0 && len <= top - at, "R1", "a run that leaves the pages in use")?;
            ensure(tables.has_tail(at, len), "R1", "a run whose ends differ")?;
            let plain = tables.is_plain_inside(at, len, is_free);
            ensure(plain, "R1", "a mark inside a run")?;
            if is_free {
                ensure(!after_free, "R2", "two free runs side by side")?;
                free.runs += 1;
                free.pages += len;
            } else {
                let byte = tables.class_byte(at).load(Relaxed);
                let class = Class::from_index(byte);
                show(&UsedRun { start: region.page(at), pages: PageCount(len), class })?;
                let mut rest = (at + 1..at + len).map(|page| tables.class_byte(page).load(Relaxed));
                let inner = if class.is_small() { class } else { Class::LARGE };
                let same = rest.all(|byte| byte == inner.byte());
                ensure(same, "R1", "a page of another class inside a run")?;
            }
            after_free = is_free;
            at += len;
        }
        let binned = self.binned(base)?;
        let counted = free == binned.free && free.pages == self.runs.free_granules();
        Violation::unless(counted, "R3", "a free run that is in no bin", base)?;
        let resident = binned.resident == self.runs.resident_granules();
        Violation::unless(resident, "R4", "resident pages that are not counted", base)
    }

    /// The free runs in bins: each free, in the bin of its length, linked both
    /// ways.
    fn binned(&self, base: usize) -> Result<Binned, Violation> {
        let ensure = |holds, found| Violation::unless(holds, "R3", found, base);
        let (mut free, mut resident) = (Free::default(), 0);
        for bin in 0..BINS {
            let (mut at, mut before, mut last) = (self.runs.bins.head(bin), NIL, NIL);
            let occupied = self.runs.bins.is_occupied(bin);
            ensure(occupied == (at != NIL), "a bin whose bit is wrong")?;
            while at != NIL {
                ensure(at < self.view.top, "a bin that leads out of the pages in use")?;
                let len = self.view.free_run_at(at).filter(|&len| bin_of(len) == bin);
                ensure(len.is_some(), "a run in a bin that is not free, or not its own")?;
                let (next, previous) = self.view.links(at);
                if before == NIL {
                    last = previous;
                } else {
                    ensure(previous == before, "a run in a bin that is not linked back")?;
                }
                free.runs += 1;
                let len = len.unwrap_or(0);
                let stamp = self.view.stamp(at);
                let outside = [stamp.dirty, stamp.resident].iter().any(|s| s.within(at, len) != *s);
                Violation::unless(!outside, "R4", "a span that leaves its run", base)?;
                resident += stamp.resident.len();
                free.pages += len;
                // As many as there are pages would be a circle.
                ensure(free.pages <= self.view.top, "a circle in a bin")?;
                (before, at) = (at, next);
            }
            ensure(last == before, "a bin whose first run does not lead to the last")?;
        }
        Ok(Binned { free, resident })
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
