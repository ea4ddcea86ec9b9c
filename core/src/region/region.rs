//! One region: a reservation, its tables, its runs and its watermark.
//!
//! Invariants:
//! - G1: tables and pages below `committed` are committed, and the tables
//!   were zero when they were first committed; some tables may be, ahead;
//! - G2: the descriptor of a page is accessed by the run engine while the
//!   page heads a free run, by the run's owner while it is used;
//! - G3: pages at and above `top` were never part of a run, or not since the region was
//!   last made empty.

use core::cell::UnsafeCell;
use core::ops::Range;
use core::ptr::{NonNull, null_mut};

use super::descriptor::{Pages, Tables};
use super::layout::{HEADER_BYTES, layout};
use super::runs::{Choice, Fit, Granules, Runs, Search, Stamp, Taken};
use super::span::Span;
use crate::base::config::Config;
use crate::base::sync::atomic::AtomicPtr;
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, align_down};
use crate::provider::{Capabilities, Node, PageProvider, Reservation};

/// A region, at the head of its own reservation.
pub(crate) struct Region {
    /// What the provider gave.
    pub reservation: Reservation,
    /// Page 0.
    pub base: NonNull<u8>,
    /// Pages that fit.
    pub pages: u32,
    /// Descriptors.
    pub tables: Tables,
    /// The node it belongs to (NU1).
    pub node: Node,
    /// Whose memory it is.
    pub(super) origin: Origin,
    /// What the provider can do with this memory.
    pub capabilities: Capabilities,
    /// The next of those that are being given back, see `release`.
    pub(super) next: AtomicPtr<Region>,
    state: UnsafeCell<State>,
}

/// What changes, under the lock of the region set.
pub(crate) struct State {
    pub(super) runs: Runs,
    pub(super) view: Pages,
    pub(super) committed: u32,
    /// Pages whose tables are committed: these, and maybe some ahead.
    pub(super) tables: u32,
    /// Whether pages that were never used, and tables that were not committed, may hold
    /// anything.
    pub(super) fresh_is_dirty: bool,
    /// When the last used run was given back.
    pub empty_since: u32,
}

/// Whose memory a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The provider's, with all it can do.
    Provider,
    /// The user's: committed, with any contents, and never given back.
    User,
}

/// Why a region has no run for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No room for it.
    Full,
    /// Room, but the provider refused to commit: memory is short, and more
    /// address space would not help.
    Refused,
}

/// How far a region has grown, in bytes from page 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Committed.
    pub committed: usize,
    /// Ever part of a run.
    pub top: usize,
}

impl Region {
    /// Makes a region of a reservation. `None`, with the reservation as it
    /// was, when it is too small or its head cannot be committed.
    ///
    /// # Safety
    ///
    /// Caller: the reservation is ours alone; the provider's, fresh, or the
    /// user's, readable and writable. Its ends are multiples of the provider's
    /// page or, if the user's, of [`PAGE_SIZE`].
    pub(crate) unsafe fn create<P: PageProvider>(
        reservation: Reservation,
        provider: &P,
        origin: Origin,
        node: Node,
    ) -> Option<NonNull<Self>> {
        let (machine_page, capabilities) = match origin {
            Origin::Provider => (provider.page_size(), provider.capabilities()),
            Origin::User => (PAGE_SIZE, Capabilities::empty()),
        };
        let start = reservation.start.addr().get();
        let place = layout(start, reservation.bytes, machine_page)?;
        let at = |address: usize| {
            // SAFETY: `layout` places everything inside the reservation.
            unsafe { reservation.start.add(address - start) }
        };
        let committed = if capabilities.contains(Capabilities::COMMIT) {
            let head = HEADER_BYTES.next_multiple_of(machine_page);
            // SAFETY: the head of the reservation, in machine pages.
            unsafe { provider.commit(reservation.start, head) }.ok()?;
            0
        } else {
            if !capabilities.contains(Capabilities::FRESH_IS_ZERO) {
                // G1: the tables start as zero.
                // SAFETY: all of the reservation is committed and ours.
                unsafe { at(place.classes).write_bytes(0, place.descriptors - place.classes) };
            }
            place.pages
        };
        let tables = Tables {
            classes: at(place.classes).cast(),
            tags: at(place.tags).cast(),
            descriptors: at(place.descriptors),
        };
        let region = reservation.start.cast::<Self>();
        let view = Pages { tables, top: 0 };
        let state = State {
            runs: Runs::new(),
            view,
            committed,
            tables: committed,
            fresh_is_dirty: !capabilities.contains(Capabilities::FRESH_IS_ZERO),
            empty_since: 0,
        };
        // SAFETY: committed above, aligned as a machine page, ours alone.
        unsafe {
            region.write(Self {
                reservation,
                base: at(place.base),
                pages: place.pages,
                tables,
                node,
                origin,
                capabilities,
                next: AtomicPtr::new(null_mut()),
                state: UnsafeCell::new(state),
            });
        }
        Some(region)
    }

    /// What changes.
    ///
    /// # Safety
    ///
    /// Caller: holds the lock of the region set, and has no other reference.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn state(&self) -> &mut State {
        // SAFETY: by the contract.
        unsafe { &mut *self.state.get() }
    }

    /// First byte of a page.
    #[inline]
    pub(crate) fn page(&self, page: u32) -> NonNull<u8> {
        // SAFETY: the caller's page is one of the region's.
        unsafe { self.base.add((page as usize) << PAGE_SHIFT) }
    }

    /// Whether it is the heap's until the heap ends, also when all is given back: the
    /// provider's, which takes nothing back.
    pub(super) fn stays(&self) -> bool {
        self.origin == Origin::Provider && !self.capabilities.contains(Capabilities::RELEASE)
    }

    /// Makes all of its pages free again, live blocks or not. `false`, with all as it
    /// was, when some stay inaccessible.
    ///
    /// # Safety
    ///
    /// Caller: has the region alone, and has forgotten what is in it.
    pub(super) unsafe fn restart<P: PageProvider>(&self, provider: &P) -> bool {
        // SAFETY: by the contract; no other reference.
        let state = unsafe { self.state() };
        let guarded = align_down(state.marks().committed, provider.page_size());
        if self.capabilities.contains(Capabilities::PROTECT) && guarded > 0 {
            // SAFETY: committed, from page 0, which starts at a machine page.
            if unsafe { provider.unprotect(self.base, guarded) }.is_err() {
                return false;
            }
        }
        let count = state.tables as usize;
        // SAFETY: committed, and nobody reads them meanwhile; G1, as at the beginning.
        unsafe {
            self.tables.classes.cast::<u8>().write_bytes(0, count);
            self.tables.tags.cast::<u8>().write_bytes(0, count * 4);
        }
        state.runs = Runs::new();
        state.view.top = 0;
        state.fresh_is_dirty = true;
        true
    }

    /// Absolute number of page 0, by which runs are aligned.
    pub(crate) fn phase(&self) -> usize {
        self.base.addr().get() >> PAGE_SHIFT
    }
}

impl State {
    /// How far the region has grown.
    #[inline]
    pub(crate) fn marks(&self) -> Marks {
        Marks {
            committed: (self.committed as usize) << PAGE_SHIFT,
            top: (self.view.top as usize) << PAGE_SHIFT,
        }
    }

    /// Pages in use.
    pub(crate) fn used(&self) -> u32 {
        self.view.top - self.runs.free_granules()
    }

    /// Takes a run, from the free ones or above the watermark.
    pub(crate) fn take<C: Config>(
        &mut self,
        region: &Region,
        provider: &C::Pages,
        fit: Fit,
        search: Search,
    ) -> Result<Taken, Miss> {
        match self.runs.take(&self.view, fit, search) {
            Some(taken) => Ok(taken),
            None => self.take_top::<C>(region, provider, fit),
        }
    }

    /// Takes a run that ends above the watermark, using a free run that ends
    /// at it. On failure nothing has changed but the commit of tables.
    #[cold]
    fn take_top<C: Config>(
        &mut self,
        region: &Region,
        provider: &C::Pages,
        fit: Fit,
    ) -> Result<Taken, Miss> {
        let old_top = self.view.top;
        let start = self.view.free_run_ending_at(old_top).unwrap_or(old_top);
        let first = fit.first_aligned(start);
        let end = first + u64::from(fit.len);
        if end > u64::from(region.pages) {
            return Err(Miss::Full);
        }
        if !self.commit::<C>(region, provider, end as u32) {
            return Err(Miss::Refused);
        }
        let fresh = self.fresh_is_dirty;
        let last = self.runs.take_last(&self.view, old_top);
        let mut stamp = last.map_or(Stamp::CLEAN, |(_, stamp)| stamp);
        if fresh {
            stamp.dirty = Span::ALL;
        }
        let first = first as u32;
        self.view.top = end as u32;
        if last.is_some() {
            self.view.unmark(start, old_top - start);
        }
        self.view.mark_used(first, fit.len);
        if first > start {
            self.view.mark_used(start, first - start);
            self.runs.give(&self.view, start, first - start, stamp);
        }
        Ok(Taken::new(first, fit.len, stamp))
    }

    /// Gives a used run back.
    pub(crate) fn give(&mut self, start: u32, len: u32, stamp: Stamp) {
        self.runs.give(&self.view, start, len, stamp);
        if self.used() == 0 {
            self.empty_since = stamp.since;
        }
    }

    /// Grows a used run in place; whether the added pages may be dirty, or
    /// `None` when something is in the way.
    pub(crate) fn grow<C: Config>(
        &mut self,
        region: &Region,
        provider: &C::Pages,
        start: u32,
        len: u32,
        new_len: u32,
    ) -> Option<bool> {
        let end = start + len;
        if end == self.view.top {
            let new_end = start.checked_add(new_len).filter(|&end| end <= region.pages)?;
            if !self.commit::<C>(region, provider, new_end) {
                return None;
            }
            self.view.top = new_end;
            self.view.unmark(start, len);
            self.view.mark_used(start, new_len);
            return Some(self.fresh_is_dirty);
        }
        self.runs.grow(&self.view, start, len, new_len)
    }

    /// Cuts a used run down to `new_len`.
    pub(crate) fn shrink(&mut self, start: u32, len: u32, new_len: u32, stamp: Stamp) {
        self.runs.shrink(&self.view, start, len, new_len, stamp);
    }

    /// Takes the parts of free runs of `lens` pages that `choose` wants of
    /// them, given the first page, length and stamp of each.
    pub(super) fn take_parts(
        &mut self,
        lens: &Range<u32>,
        choose: impl FnMut(u32, u32, Stamp) -> Choice,
    ) {
        self.runs.take_parts(&self.view, lens, choose);
    }
}

static_assertions::const_assert!(size_of::<Region>() <= HEADER_BYTES);
