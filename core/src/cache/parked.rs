//! One large run per slot, kept for the next request of the same length.
//!
//! A program that takes and frees a buffer of the same size over and over
//! would pay two passes through the regions' lock for each. The second free
//! in a row of runs of one length parks the run in the slot instead, and the
//! next allocation of that length takes it out: one atomic swap each.
//!
//! A parked run stays *used* to its region, with a value of its own in its
//! class byte, by which a second free of it is recognised. At most one per slot, of
//! bounded size; a tick without use gives it back.
//!
//! K1: a run whose pointer is in `run` belongs to the slot; who swaps it out
//! owns it.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::paths::{Cache, Lower, Place};
use crate::base::config::Config;
use crate::base::fault::FaultKind;
use crate::base::units::PageCount;
use crate::region::{Contents, Located};

/// The place for one run.
pub(crate) struct Parked {
    run: AtomicPtr<u8>,
    /// Length of the run parked. A hint: the run's tag decides.
    pages: AtomicU32,
    /// Length of the run freed last: the same again is hot.
    freed: AtomicU32,
    /// Whether it was used since the last tick.
    used: AtomicBool,
}

impl Parked {
    pub(crate) const fn new() -> Self {
        Self {
            run: AtomicPtr::new(null_mut()),
            pages: AtomicU32::new(0),
            freed: AtomicU32::new(0),
            used: AtomicBool::new(false),
        }
    }

    fn take(&self) -> Option<NonNull<u8>> {
        // Acquire: pairs with the Release in `put`. Release is not needed:
        // nothing is handed over.
        NonNull::new(self.run.swap(null_mut(), Ordering::Acquire))
    }

    fn put(&self, run: NonNull<u8>, pages: PageCount) -> bool {
        // Release: the last user's accesses come before the next one's; pairs
        // with the Acquire in `take`.
        let put = self
            .run
            .compare_exchange(null_mut(), run.as_ptr(), Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if put {
            self.pages.store(pages.get(), Ordering::Relaxed);
            self.used.store(true, Ordering::Relaxed);
        }
        put
    }

    /// Bytes parked, as far as a glance tells.
    pub(crate) fn bytes(&self) -> usize {
        if self.run.load(Ordering::Relaxed).is_null() {
            0
        } else {
            PageCount(self.pages.load(Ordering::Relaxed)).bytes()
        }
    }
}

impl<C: Config> Cache<C> {
    /// Parks a run that is being freed; `false` when it should go back to its
    /// region.
    ///
    /// # Errors
    ///
    /// [`FaultKind::DoubleFree`] when it is parked already.
    pub(crate) fn park(
        &self,
        lower: Lower<'_, C>,
        run: NonNull<u8>,
        at: Located<'_>,
        pages: PageCount,
    ) -> Result<bool, FaultKind> {
        if at.is_parked() {
            return Err(FaultKind::DoubleFree);
        }
        let Place::Slot(slot) = self.place(lower) else { return Ok(false) };
        let parked = &slot.parked;
        if parked.freed.load(Ordering::Relaxed) != pages.get() {
            parked.freed.store(pages.get(), Ordering::Relaxed);
            return Ok(false);
        }
        if !parked.run.load(Ordering::Relaxed).is_null() || pages.bytes() > C::PARKED_MAX {
            return Ok(false);
        }
        at.mark_parked();
        let put = parked.put(run, pages);
        if !put {
            at.unmark_parked();
        }
        Ok(put)
    }

    /// A parked run of `pages`, if the slot has one. Its contents are dirty.
    #[inline]
    pub(crate) fn unpark(&self, lower: Lower<'_, C>, pages: PageCount) -> Option<NonNull<u8>> {
        let Place::Slot(slot) = self.place(lower) else { return None };
        if slot.parked.pages.load(Ordering::Relaxed) != pages.get() {
            return None;
        }
        let run = slot.parked.take()?;
        let at = lower.regions.locate(run.as_ptr())?;
        at.unmark_parked();
        if at.run() == Some(pages) {
            return Some(run);
        }
        // Another length was parked between the two looks.
        Self::give_parked(lower, run, 0);
        None
    }

    /// Gives the parked runs back that were not used since the last call.
    pub(crate) fn trim_parked(&self, lower: Lower<'_, C>, now: u32) {
        for slot in self.registry.slots() {
            let parked = &slot.parked;
            if !parked.used.swap(false, Ordering::Relaxed) && parked.bytes() > 0 {
                self.drain_parked(lower, parked, now);
            }
        }
    }

    /// Gives a parked run back.
    pub(super) fn drain_parked(&self, lower: Lower<'_, C>, parked: &Parked, now: u32) {
        if let Some(run) = parked.take() {
            if let Some(at) = lower.regions.locate(run.as_ptr()) {
                at.unmark_parked();
            }
            Self::give_parked(lower, run, now);
        }
    }

    fn give_parked(lower: Lower<'_, C>, run: NonNull<u8>, now: u32) {
        let given = lower.regions.give(run, Contents::Dirty, now);
        debug_assert!(given.is_ok(), "K1: a parked run is a used run");
    }
}
