//! Pages set aside beforehand, so that none has to be asked for later.

use super::Heap;
use crate::base::config::Config;
use crate::base::fault::OutOfMemory;
use crate::base::limits::Backing;
use crate::base::units::PageCount;
use crate::region::Near;

impl<C: Config> Heap<C> {
    /// Sees to it that `bytes` of free pages (rounded up) are committed, and
    /// with [`Backing::AtOnce`] have memory behind them: allocations that fit
    /// ask the provider for nothing, and touch no page for the first time. They lie in
    /// one piece, or where there is none as long in up to 16, each of at least
    /// 64 KiB. What is free already counts, so that to ask again does
    /// nothing; what CPUs cache does not.
    ///
    /// The pages are free ones like others: idle ones are purged, unless
    /// [`Limits::resident_min`](crate::base::limits::Limits::resident_min) says how
    /// much stays. The heap counts as large from now on, so caches may
    /// grow as in a heap that has used so much.
    ///
    /// Waits for locks, as [`alloc`](Self::alloc) may, and takes as long as
    /// it takes to touch the pages, under no lock: not for interrupts.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when so much cannot be had. Nothing is touched then, but
    /// pages that could be committed stay so.
    ///
    /// ```
    /// # fn boot<C: granule_core::Config>(heap: &granule_core::Heap<C>) {
    /// use granule_core::base::limits::Backing;
    /// // A kernel's first mebibyte, before there are deadlines.
    /// if heap.preallocate(1 << 20, Backing::AtOnce).is_err() {
    ///     // It goes on with what is had as it is needed.
    /// }
    /// # }
    /// ```
    pub fn preallocate(&self, bytes: usize, backing: Backing) -> Result<(), OutOfMemory> {
        let pages = PageCount::covering(bytes).ok_or(OutOfMemory)?;
        if pages.get() == 0 {
            return Ok(());
        }
        let near = Near::First(self.lower.source());
        self.lower.regions.preallocate(&self.lower.provider, near, pages, backing)
    }
}

#[cfg(test)]
#[path = "preallocate_tests.rs"]
mod tests;
