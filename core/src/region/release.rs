//! Giving all regions back at once: a walk of regions, not of blocks.
//!
//! Locks: `growth`, for the provider's `release` and to enter a region.

use core::ptr::{NonNull, null_mut};

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
    /// anew: with those regions, empty, that the provider never takes back, in their
    /// old order. Regions of the user's are forgotten. What was refused before is tried
    /// again.
    ///
    /// The exclusive borrow proves that nobody is inside, and nobody's pointer
    /// is looked up any more (D1).
    pub(crate) fn release_all(&mut self, provider: &C::Pages) -> AllReleased {
        // Linked up first: parts of the directory lie in regions themselves.
        let mut list = self.link_all();
        *self = Self::new();
        let mut all = AllReleased::default();
        while let Some(at) = NonNull::new(list) {
            // SAFETY: alive until it is released, below.
            let region: &Region = unsafe { at.as_ref() };
            let (reservation, can) = (region.reservation, region.capabilities);
            list = region.next.load(Relaxed);
            if region.stays() {
                // SAFETY: by the exclusive borrow, and forgotten.
                let is_whole = unsafe { region.restart(provider) };
                let growing = self.growth.lock();
                // There is an entry, as all pages of those entered before are free.
                match self.directory.claim().filter(|_| is_whole) {
                    Some(entry) => self.enter_empty(&growing, provider, entry, region),
                    None => self.put_aside(region),
                }
                continue;
            }
            if !can.contains(Capabilities::RELEASE) {
                continue;
            }
            let _growing = self.growth.lock();
            // SAFETY: from `reserve`; the heap knows nothing in it any more.
            if unsafe { provider.release(reservation) }.is_ok() {
                all.given += reservation.bytes;
            } else {
                self.put_aside(region);
                all.kept += reservation.bytes;
            }
        }
        all
    }

    /// Links all regions up, in the directory's order, then those put aside before;
    /// returns the first.
    fn link_all(&self) -> *mut Region {
        let mut last: Option<NonNull<Region>> = None;
        let mut first = null_mut();
        let link = |last: Option<NonNull<Region>>, first: &mut *mut Region, next| match last {
            // SAFETY: entered regions are alive.
            Some(last) => unsafe { last.as_ref() }.next.store(next, Relaxed),
            None => *first = next,
        };
        for region in self.directory.entries().filter_map(Entry::region) {
            link(last, &mut first, region.as_ptr());
            last = Some(region);
        }
        link(last, &mut first, self.refused.load(Relaxed));
        first
    }

    /// Keeps a region that is in the directory no more until all is given back again.
    fn put_aside(&self, region: &Region) {
        region.next.store(self.refused.load(Relaxed), Relaxed);
        self.refused.store(core::ptr::from_ref(region).cast_mut(), Relaxed);
    }
}
