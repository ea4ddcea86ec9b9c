//! Large runs: parked by a free, taken by the next allocation.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::lower::Lower;
use super::parked::Parked;
use super::whole::{Cache, Place};
use crate::base::config::Config;
use crate::base::fault::FaultKind;
use crate::base::units::PageCount;
use crate::region::{Contents, Located};

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
        if !parked.run.load(Ordering::Relaxed).is_null()
            || pages.bytes() > C::limits().parked_max
            || self.registry.is_short()
        {
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
