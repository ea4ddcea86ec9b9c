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

use crate::base::units::PageCount;

/// The place for one run.
pub(crate) struct Parked {
    pub(super) run: AtomicPtr<u8>,
    /// Length of the run parked. A hint: the run's tag decides.
    pub(super) pages: AtomicU32,
    /// Length of the run freed last: the same again is hot.
    pub(super) freed: AtomicU32,
    /// Whether it was used since the last tick.
    pub(super) used: AtomicBool,
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

    pub(super) fn take(&self) -> Option<NonNull<u8>> {
        // Acquire: pairs with the Release in `put`. Release is not needed:
        // nothing is handed over.
        NonNull::new(self.run.swap(null_mut(), Ordering::Acquire))
    }

    pub(super) fn put(&self, run: NonNull<u8>, pages: PageCount) -> bool {
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
