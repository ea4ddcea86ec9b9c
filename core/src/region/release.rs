//! Giving all regions back at once: a walk of regions, not of blocks.
//!
//! Locks: `growth`, for the provider's `release`.

use core::ptr::NonNull;

use super::directory::Entry;
use super::region::Region;
use super::set::Regions;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::provider::{Capabilities, PageProvider};

/// What became of the memory of all regions, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllReleased {
    /// Taken back by the provider.
    pub given: usize,
    /// Refused by it: kept until the next time.
    pub kept: usize,
}

impl<C: Config> Regions<C> {
    /// Gives every region back to the provider, live blocks or not, and begins
    /// anew. Regions of the user's, and those of a provider that takes nothing
    /// back, are forgotten. What was refused before is tried again.
    ///
    /// The exclusive borrow proves that nobody is inside, and nobody's pointer
    /// is looked up any more (D1).
    pub(crate) fn release_all(&mut self, provider: &C::Pages) -> AllReleased {
        // Linked up first: parts of the directory lie in regions themselves.
        let mut list = self.refused.load(Relaxed);
        for region in self.directory.entries().filter_map(Entry::region) {
            // SAFETY: entered regions are alive.
            unsafe { region.as_ref() }.next.store(list, Relaxed);
            list = region.as_ptr();
        }
        *self = Self::new();
        let _growing = self.growth.lock();
        let mut all = AllReleased::default();
        while let Some(at) = NonNull::new(list) {
            // SAFETY: alive until it is released, below.
            let region: &Region = unsafe { at.as_ref() };
            let (reservation, can) = (region.reservation, region.capabilities);
            list = region.next.load(Relaxed);
            if !can.contains(Capabilities::RELEASE) {
                continue;
            }
            // SAFETY: from `reserve`; the heap knows nothing in it any more.
            if unsafe { provider.release(reservation) }.is_ok() {
                all.given += reservation.bytes;
            } else {
                region.next.store(self.refused.load(Relaxed), Relaxed);
                self.refused.store(at.as_ptr(), Relaxed);
                all.kept += reservation.bytes;
            }
        }
        all
    }
}
