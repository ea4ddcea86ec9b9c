//! The front end of heaps besides the process's: a cache for each number of a
//! thread.

use core::ptr::null_mut;

use granule_core::FrontEnd;
use granule_core::base::class::Class;
use granule_core::cache::guarded::Guarded;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::{Current, NoSuchCpu, Resettable};

use super::threads::MAX_INDEXED;
use crate::imp::env::HostEnv;
use crate::imp::threads::{ThreadCpu, own_number};

/// Caches of the first 256 threads alive; others work without one.
///
/// A [`Guarded`] of threads' numbers, but that a hit takes no number: a thread
/// without one misses, and gets it on the way.
#[derive(Debug, Default)]
pub struct ThreadCaches(Guarded<ThreadCpu, HostEnv, MAX_INDEXED>);

impl ThreadCaches {
    /// Every thread without a cache: they are made at the first miss.
    #[must_use]
    pub const fn new() -> Self {
        Self(Guarded::new())
    }
}

// SAFETY: the portable one keeps the contract. A number is its thread's alone, as
// long as the thread lives, so hits need no guard.
unsafe impl FrontEnd<HostEnv> for ThreadCaches {
    #[inline(always)]
    unsafe fn pop_first(&self, class: Class) -> *mut u8 {
        match self.0.place_of(own_number()) {
            // SAFETY: the thread's own.
            Some(place) => unsafe { place.tops().pop(class) },
            None => null_mut(),
        }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        match self.0.place_of(own_number()) {
            // SAFETY: the thread's own; the rest by the contract.
            Some(place) => unsafe { place.tops().push_even(class, object) },
            None => false,
        }
    }

    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        self.0.pop(class)
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract.
        unsafe { self.0.push(class, object) }
    }

    #[inline]
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: by the contract.
        unsafe { self.0.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, HostEnv> {
        self.0.current()
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        self.0.attach(slot)
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<HostEnv>>, NoSuchCpu> {
        self.0.slot_of(cpu)
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        self.0.stop(slot)
    }

    fn restart(&self, slot: &Slot<HostEnv>) {
        self.0.restart(slot);
    }
}

// SAFETY: the portable one knows all slots, and forgets them.
unsafe impl Resettable<HostEnv> for ThreadCaches {
    fn reset(&mut self) {
        self.0.reset();
    }
}
