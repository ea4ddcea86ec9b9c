//! All regions of a heap: runs come from here and go back here.
//!
//! Locks: `growth`, then `set`. The provider's `commit` is called under
//! `set`; `reserve` and `release` only under `growth`; `purge` under neither.
//! Before all locks of the heap comes `purging`, a gate.

use core::ops::Range;
use core::ptr::{NonNull, null_mut};

use super::directory::{Directory, Entry};
use super::growth::Growing;
use super::located::Located;
use super::nodes::Near;
use super::region::{Marks, Miss, Region};
use super::runs::{Fit, Search, Stamp};
use super::span::Span;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::{Environment, elapsed_ms};
use crate::base::fault::{Fault, FaultKind, OutOfMemory};
use crate::base::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::base::sync::{Count, Gate, Held, Lock, Update};
use crate::base::units::{PAGE_SIZE, PageCount};
use crate::provider::{Capabilities, Node};

/// A run of pages that is ours until given back.
#[must_use = "dropping a run leaks its pages"]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// First byte.
    pub start: NonNull<u8>,
    /// Length.
    pub pages: PageCount,
    /// Whether all of it is known to be zero.
    pub zero: bool,
    /// What is known of its parts.
    pub(super) stamp: Stamp,
}

/// The regions of a heap.
pub(crate) struct Regions<C: Config> {
    pub(crate) directory: Directory,
    pub(super) growth: Lock<(), C::Env>,
    /// Bytes below the watermarks of all regions: how large the heap is.
    extent: AtomicUsize,
    /// Whose turn it is, where nodes take turns.
    pub(super) turn: AtomicU32,
    /// Bytes of what is kept for nodes.
    pub(super) kept: AtomicUsize,
    last_tick: AtomicU32,
    /// Passed by who has pages or objects taken that are free in truth (P3).
    pub(crate) purging: Gate<C::Env>,
    /// Regions that the provider refused to take back when all was given back, or that
    /// could not be entered again; changed by `release_all` alone.
    pub(super) refused: AtomicPtr<Region>,
    /// Guards every region's `State`, and changes of the directory.
    pub(super) set: Lock<(), C::Env>,
}

/// What the regions hold, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RegionStats {
    pub regions: usize,
    pub reserved: usize,
    pub committed: usize,
    pub used: usize,
    /// Of those used: the directory's own pages, and what is kept for nodes.
    pub own: usize,
    /// Free, and maybe with memory behind.
    pub resident_free: usize,
}

impl<C: Config> Regions<C> {
    pub(crate) const fn new() -> Self {
        Self {
            directory: Directory::new(),
            growth: Lock::new(()),
            extent: AtomicUsize::new(0),
            turn: AtomicU32::new(0),
            kept: AtomicUsize::new(0),
            last_tick: AtomicU32::new(0),
            purging: Gate::new(),
            refused: AtomicPtr::new(null_mut()),
            set: Lock::new(()),
        }
    }

    /// The class under a pointer into the first region; no lock.
    ///
    /// # Safety
    ///
    /// Caller: as for [`Directory::first_class_of`].
    #[inline(always)]
    pub(crate) unsafe fn first_class_of(&self, pointer: *const u8) -> Option<Class> {
        // SAFETY: by the contract.
        unsafe { self.directory.first_class_of(pointer) }
    }

    /// The page under a pointer, if it is one of ours; no lock. Of a pointer that may
    /// dangle only while it [stays](Self::stay), or for a report.
    #[inline]
    pub(crate) fn locate(&self, pointer: *const u8) -> Option<Located<'_>> {
        let (region, page) = self.directory.find(pointer)?;
        // SAFETY: D1, a region in the directory is alive as long as a block
        // in it is. Without one it is in the directory until somebody takes it out,
        // under the lock of the set; the first one stays.
        Some(Located { region: unsafe { region.as_ref() }, page })
    }

    /// Keeps the region under a pointer, whosever that is, for as long as the lock is
    /// held. The first region stays without one.
    #[inline]
    pub(crate) fn stay(&self, pointer: *const u8) -> Option<Held<'_, (), C::Env>> {
        (!self.directory.is_in_first(pointer)).then(|| self.set.lock())
    }

    /// A fault at a pointer, with what is known of its page; no lock.
    #[cold]
    pub(crate) fn fault_at(&self, kind: FaultKind, pointer: *const u8) -> Fault {
        let place = self.locate(pointer).map(|at| at.place());
        Fault { place, ..Fault::new(kind, pointer) }
    }

    /// Takes a run of `pages` (at least 1) at a multiple of `align` pages, where
    /// `near` says, and marks its pages with `class`.
    ///
    /// # Errors
    ///
    /// When no such region has room and the provider has no more to give.
    pub(crate) fn take(
        &self,
        provider: &C::Pages,
        near: Near,
        pages: PageCount,
        align: u32,
        class: Class,
    ) -> Result<Run, OutOfMemory> {
        self.take_roomy(provider, near, pages, align, class, 0)
    }

    /// The same, with `room` free pages behind the run if there is such a
    /// place without growth: for a block that is likely to grow.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    #[inline]
    pub(crate) fn take_roomy(
        &self,
        provider: &C::Pages,
        near: Near,
        pages: PageCount,
        align: u32,
        class: Class,
        room: u32,
    ) -> Result<Run, OutOfMemory> {
        let roomy = match room {
            0 => Err(Miss::Full),
            room => {
                let only = Some(near.node());
                self.take_present(provider, only, pages, align, room, Search::Quick)
            }
        };
        let (located, run) = match roomy {
            Ok(found) => found,
            Err(_) => match self.take_near(provider, near.node(), pages, align) {
                Err(OutOfMemory) if C::NODES > 1 && matches!(near, Near::First(_)) => {
                    self.take_far(provider, near.node(), pages, align)?
                }
                found => found?,
            },
        };
        if class != Class::LARGE {
            located.set_class(pages, class);
        }
        Ok(run)
    }

    /// Takes a run of one node, and reserves more of it if need be.
    pub(super) fn take_near(
        &self,
        provider: &C::Pages,
        node: Node,
        pages: PageCount,
        align: u32,
    ) -> Result<(Located<'_>, Run), OutOfMemory> {
        loop {
            let take = |search| self.take_present(provider, Some(node), pages, align, 0, search);
            if let Ok(found) = take(Search::Quick) {
                return Ok(found);
            }
            let growth = self.growth.lock();
            // Somebody else may have grown the heap while we waited, and what
            // a quick search overlooks is better than growth.
            match take(Search::Thorough) {
                Ok(found) => return Ok(found),
                Err(Miss::Refused) => return Err(OutOfMemory),
                Err(Miss::Full) => self.grow(&growth, provider, node, pages, align)?,
            }
        }
    }

    /// Takes a run with `room` free pages behind it from the present regions,
    /// of one node or of all.
    pub(super) fn take_present(
        &self,
        provider: &C::Pages,
        only: Option<Node>,
        pages: PageCount,
        align: u32,
        room: u32,
        search: Search,
    ) -> Result<(Located<'_>, Run), Miss> {
        let _set = self.set.lock();
        let mut miss = Miss::Full;
        for entry in self.directory.entries() {
            let Some(region) = entry.region() else { continue };
            // SAFETY: entered regions live until they are taken out, under
            // this lock.
            let region: &Region = unsafe { region.as_ref() };
            if !Self::serves(region, only) {
                continue;
            }
            // SAFETY: the lock is held, and this is the one reference.
            let state = unsafe { region.state() };
            let before = state.marks();
            let fit = Fit { len: pages.get() + room, align, phase: region.phase() };
            let taken = state.take::<C>(region, provider, fit, search);
            if let Ok(taken) = taken
                && room > 0
            {
                let stamp = Stamp { since: C::Env::now_ms(), ..taken.stamp };
                state.shrink(taken.start, fit.len, pages.get(), stamp);
            }
            self.note_growth(entry, region, before, state.marks());
            match taken {
                Ok(taken) => {
                    let dirty = taken.stamp.dirty.within(taken.start, pages.get());
                    let (start, zero) = (region.page(taken.start), dirty.is_empty());
                    let run = Run { start, pages, zero, stamp: taken.stamp };
                    return Ok((Located { region, page: taken.start }, run));
                }
                Err(Miss::Refused) => miss = Miss::Refused,
                Err(Miss::Full) => {}
            }
        }
        Err(miss)
    }

    /// Gives back, at the time `now`, the used run that starts at `start`. Its class bytes become 0.
    pub(crate) fn give(
        &self,
        start: NonNull<u8>,
        contents: Contents,
        now: u32,
    ) -> Result<(), NotARun> {
        self.give_stamped(start, contents.stamp(now))
    }

    /// The same for a run of which all but the pages `kept`, counted from its
    /// first, have been purged.
    pub(crate) fn give_sparse(
        &self,
        start: NonNull<u8>,
        kept: Range<u32>,
        now: u32,
    ) -> Result<(), NotARun> {
        let located = self.locate(start.as_ptr()).ok_or(NotARun)?;
        let kept = Span { start: located.page + kept.start, end: located.page + kept.end };
        let zeroes = located.capabilities().contains(Capabilities::PURGE_ZEROES);
        let dirty = if zeroes { kept } else { Span::ALL };
        self.give_stamped(start, Stamp { dirty, resident: kept, since: now })
    }

    /// The same, where more is known of the run.
    pub(super) fn give_stamped(&self, start: NonNull<u8>, stamp: Stamp) -> Result<(), NotARun> {
        let located = self.locate(start.as_ptr()).ok_or(NotARun)?;
        let pages = located.run().ok_or(NotARun)?;
        if located.class() != Class::LARGE {
            located.clear_class(pages);
        }
        let _set = self.set.lock();
        // SAFETY: the lock is held, and this is the one reference.
        unsafe { located.region.state() }.give(located.page, pages.get(), stamp);
        Ok(())
    }

    /// Makes the used run that starts at `start` `new` pages long, in place.
    /// `false` when something is in the way. Added pages have any contents; pages that
    /// are cut off have those of `behind`.
    pub(crate) fn resize(
        &self,
        provider: &C::Pages,
        start: NonNull<u8>,
        new: PageCount,
        behind: Contents,
    ) -> bool {
        let Some(located) = self.locate(start.as_ptr()) else { return false };
        let _set = self.set.lock();
        let Some(old) = located.run() else { return false };
        let Located { region, page } = located;
        // SAFETY: the lock is held, and this is the one reference.
        let state = unsafe { region.state() };
        if new <= old {
            if new < old {
                let stamp = behind.stamp(C::Env::now_ms());
                state.shrink(page, old.get(), new.get(), stamp);
            }
            return true;
        }
        let before = state.marks();
        let grown = state.grow::<C>(region, provider, page, old.get(), new.get()).is_some();
        let region_at = Some(NonNull::from(region));
        if let Some(entry) = self.directory.entries().find(|entry| entry.region() == region_at) {
            self.note_growth(entry, region, before, state.marks());
        }
        grown
    }

    /// Tells directory and extent that a region's marks have risen.
    #[inline]
    fn note_growth(&self, entry: &Entry, region: &Region, before: Marks, now: Marks) {
        if now != before {
            self.extent.fetch_add_in::<C::Env>(now.top - before.top, Relaxed);
            self.directory.set(entry, Some((region, now.committed)));
        }
    }

    fn own_bytes(&self) -> usize {
        self.directory.own_bytes() + self.kept.load(Relaxed)
    }

    /// Bytes below the watermarks: how large the heap has been.
    #[inline]
    pub(crate) fn extent(&self) -> usize {
        self.extent.load(Relaxed)
    }

    /// The address behind the pages of the first region that were ever used;
    /// 0 where there is none.
    pub(crate) fn first_end(&self) -> usize {
        let first = self.find_region(|region| {
            // SAFETY: `find_region` holds the lock; the one reference.
            let top = unsafe { region.state() }.marks().top;
            Some(region.base.addr().get() + top)
        });
        first.unwrap_or(0)
    }

    /// Counts, in bytes.
    pub(crate) fn stats(&self) -> RegionStats {
        let _set = self.set.lock();
        let mut stats = RegionStats { own: self.own_bytes(), ..RegionStats::default() };
        for region in self.directory.entries().filter_map(Entry::region) {
            // SAFETY: as in `take_present`.
            let region = unsafe { region.as_ref() };
            // SAFETY: the lock is held, and this is the one reference.
            let state = unsafe { region.state() };
            stats.regions += 1;
            stats.reserved += region.reservation.bytes;
            stats.committed += state.marks().committed;
            stats.used += state.used() as usize * PAGE_SIZE;
            stats.resident_free += state.runs.resident_granules() as usize * PAGE_SIZE;
        }
        stats
    }

    /// Whether `interval` milliseconds have passed since this last said so.
    #[inline]
    pub(crate) fn tick_is_due(&self, now: u32, interval: u32) -> bool {
        // Relaxed: who wins does the work, under the locks it needs.
        let last = self.last_tick.load(Relaxed);
        elapsed_ms(last, now) >= interval
            && self.last_tick.compare_exchange_in::<C::Env>(last, now, Relaxed).is_ok()
    }

    /// Calls `step` for each region under the lock until it returns a value.
    pub(super) fn find_region<R>(&self, mut step: impl FnMut(&Region) -> Option<R>) -> Option<R> {
        let _set = self.set.lock();
        self.directory.entries().filter_map(Entry::region).find_map(|region| {
            // SAFETY: as in `take_present`.
            step(unsafe { region.as_ref() })
        })
    }

    /// Takes a region that is not the first out of the directory when `empty`
    /// says so under the lock. Its reservation is the caller's to release.
    /// The entry is returned for [`put_back`](Self::put_back).
    pub(super) fn remove_region(
        &self,
        _growing: &Growing<'_, C>,
        empty: impl Fn(&Region) -> bool,
    ) -> Option<(&Entry, NonNull<Region>)> {
        let _set = self.set.lock();
        let entry = self.directory.entries().find(|entry| {
            // SAFETY: as in `take_present`.
            let matches = entry.region().is_some_and(|region| empty(unsafe { region.as_ref() }));
            matches && !self.directory.is_first(entry)
        })?;
        let region = entry.region()?;
        // SAFETY: as in `take_present`; the lock is held, the one reference.
        let top = unsafe { region.as_ref().state() }.marks().top;
        self.extent.fetch_sub_in::<C::Env>(top, Relaxed);
        self.directory.set(entry, None);
        Some((entry, region))
    }

    /// Enters a region again that could not be released.
    pub(super) fn put_back(
        &self,
        _growing: &Growing<'_, C>,
        entry: &Entry,
        region: NonNull<Region>,
    ) {
        let _set = self.set.lock();
        // SAFETY: it was taken out and is whole; nobody else has it.
        let region = unsafe { region.as_ref() };
        // SAFETY: the lock is held, and this is the one reference.
        let state = unsafe { region.state() };
        let marks = state.marks();
        // Not to be tried again at once.
        state.empty_since = C::Env::now_ms();
        self.extent.fetch_add_in::<C::Env>(marks.top, Relaxed);
        self.directory.set(entry, Some((region, marks.committed)));
    }

    /// Closes the locks for `fork`, in order.
    pub(crate) fn hold(&self) {
        self.growth.hold();
        self.set.hold();
    }

    /// Opens them again.
    ///
    /// # Safety
    ///
    /// Caller: closed them by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe {
            self.set.unhold();
            self.growth.unhold();
        }
    }
}

/// No used run starts at the pointer. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotARun;

/// What is in pages that are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Anything.
    Dirty,
    /// Anything, and the memory behind them is gone already.
    Purged,
    /// Zero, with no memory behind them.
    Zero,
}

impl Contents {
    /// What a purge leaves behind.
    pub(super) fn after_purge(capabilities: Capabilities, whole: bool) -> Self {
        if whole && capabilities.contains(Capabilities::PURGE_ZEROES) {
            Self::Zero
        } else {
            Self::Purged
        }
    }

    pub(super) fn stamp(self, since: u32) -> Stamp {
        let (dirty, resident) = match self {
            Self::Dirty => (Span::ALL, Span::ALL),
            Self::Purged => (Span::ALL, Span::NONE),
            Self::Zero => (Span::NONE, Span::NONE),
        };
        Stamp { dirty, resident, since }
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "set_models.rs"]
mod models;
