//! What keeps a heap in shape: reclaim, the ends of threads, fork.

use core::ptr::NonNull;

use super::Heap;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::OutOfMemory;
use crate::cache::FrontEnd;
use crate::cache::slot::Slot;
use crate::region::purge::Urgency;

impl<C: Config> Heap<C> {
    /// Gives back all memory that is free: drains every cache it can reach
    /// (others follow at their next miss), returns empty slabs, purges free
    /// runs, releases empty regions. Returns the bytes given to the provider.
    pub fn reclaim(&self) -> usize {
        self.free_deferred();
        if Self::checks_calls() {
            self.empty_quarantine();
        }
        self.cache.drain_all(&self.lower);
        self.lower.slabs.return_empty(&self.lower.regions);
        let given = self.lower.slabs.purge_all(&self.lower.regions, &self.lower.provider);
        given + self.lower.regions.give_back(&self.lower.provider, C::Env::now_ms(), Urgency::All)
    }

    /// Adds memory of the caller's to the heap, at any time and any number of
    /// times: another bank, a static array. It need not touch other regions;
    /// its ends are rounded inwards to pages, and its tables take 1.7 % of it.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when it is too small to hold its tables and a page.
    ///
    /// # Safety
    ///
    /// Caller: the `bytes` from `start` are readable and writable, of any
    /// contents, do not wrap around the address space (ending at its top is
    /// allowed), and are the heap's alone for ever, or until
    /// [`release_all`](Self::release_all) has returned.
    pub unsafe fn add_region(&self, start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        self.lower.front.prepare();
        // SAFETY: by the contract.
        unsafe { self.lower.regions.add(&self.lower.provider, start, bytes) }
    }

    /// Takes back the slot of a thread that ends, or of a CPU that is gone,
    /// with all that is cached in it.
    ///
    /// # Safety
    ///
    /// Caller (a front end): the slot was attached, and the front end no
    /// longer leads anybody to it.
    pub unsafe fn detach(&self, slot: &'static Slot<C::Env>) {
        // SAFETY: by the contract.
        unsafe { self.cache.detach(&self.lower, slot) };
    }

    /// Before `fork`: waits for purges under way, a call of the provider's each, and
    /// closes every lock, so that the child finds all records whole, and
    /// [`check`](Self::check) nothing to report. What a thread that the child does not
    /// have was about to take or to give back is lost to the child: a sheaf of objects,
    /// a slab or a run for each.
    /// Lock order: gate of purges, quarantines, queue of samples, slabs, depot, pool, registry, stashes, growth, set.
    pub fn before_fork(&self) {
        self.lower.regions.purging.close();
        self.checks.quarantine.hold();
        self.checks.hidden.hold();
        self.sampler.hold();
        self.lower.slabs.hold();
        self.cache.hold();
        self.lower.regions.hold();
    }

    /// After `fork`, in the parent and in the child: opens the locks again.
    ///
    /// # Safety
    ///
    /// Caller: this thread, or the one it is the copy of, called
    /// [`before_fork`](Self::before_fork), and nothing else since.
    pub unsafe fn after_fork(&self) {
        // SAFETY: by the contract.
        unsafe {
            self.lower.regions.unhold();
            self.cache.unhold();
            self.lower.slabs.unhold();
            self.sampler.unhold();
            self.checks.hidden.unhold();
            self.checks.quarantine.unhold();
            self.lower.regions.purging.open();
        }
    }

    /// After [`after_fork`](Self::after_fork) in the child: takes back the
    /// slots of the threads that the child does not have.
    ///
    /// # Safety
    ///
    /// Caller: is the only thread, and the front end is one of threads, not
    /// of CPUs.
    pub unsafe fn adopt_orphans(&self) {
        // SAFETY: by the contract.
        unsafe { self.cache.detach_others(&self.lower) };
    }

    /// After [`after_fork`](Self::after_fork) in the child: opens the caches again
    /// that another thread was draining, which nobody else would.
    ///
    /// # Safety
    ///
    /// Caller: is the only thread, and the front end is one of CPUs, or of threads'
    /// numbers: whoever comes to a CPU, or gets a number, has the cache.
    pub unsafe fn restart_stopped(&self) {
        // SAFETY: by the contract.
        unsafe { self.cache.restart_all(&self.lower) };
    }
}
