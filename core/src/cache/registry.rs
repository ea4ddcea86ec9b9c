//! All slots of a heap, in use or not.
//!
//! Locks: `unused`, a leaf.

use core::ptr::{NonNull, null_mut};

use super::lower::Lower;
use super::pool::{Pool, Side};
use super::slot::Slot;
use crate::base::config::Config;
use crate::base::env::{Environment, elapsed_ms};
use crate::base::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::base::sync::{Count, Lock, plain};

/// How long, in milliseconds, memory counts as short after a request failed
/// at first.
const SHORTAGE_MS: u32 = 1000;

/// Slots no CPU or thread has.
pub(super) struct Unused<E: Environment>(Option<NonNull<Slot<E>>>);

// SAFETY: slots are the heap's own and live for ever; reached under the lock.
unsafe impl<E: Environment> Send for Unused<E> {}

/// Every slot ever made. They are never given back, only used again, until the
/// heap gives back all it has, when nobody is inside (E1).
pub(crate) struct Registry<C: Config> {
    all: AtomicPtr<Slot<C::Env>>,
    pub(super) unused: Lock<Unused<C::Env>, C::Env>,
    active: AtomicU32,
    pub(super) epoch: AtomicU32,
    /// Raised at ticks: runs cached before are to be given back.
    pub(super) age: AtomicU32,
    /// When memory was last found to be short, in milliseconds, made odd; 0
    /// when that is long past.
    short_since: AtomicU32,
}

impl<C: Config> Registry<C> {
    pub(crate) const fn new() -> Self {
        Self {
            all: AtomicPtr::new(null_mut()),
            unused: Lock::new(Unused(None)),
            active: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            age: AtomicU32::new(0),
            short_since: AtomicU32::new(0),
        }
    }

    /// Slots in use.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Notes that memory is short: for a while nothing is stashed away, so
    /// that what other threads free can be had.
    pub(crate) fn note_shortage(&self, now: u32) {
        self.short_since.store(now | 1, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(crate) fn is_short(&self) -> bool {
        self.short_since.load(Ordering::Relaxed) != 0
    }

    /// Ends the shortage when it is long past.
    pub(crate) fn end_shortage(&self, now: u32) {
        let since = self.short_since.load(Ordering::Relaxed);
        // It may lie ahead of `now`, by its oddness, too.
        if since != 0 && elapsed_ms(since, now) >= SHORTAGE_MS {
            self.short_since.store(0, Ordering::Relaxed);
        }
    }

    /// An empty slot: an unused one, or new. `None` when out of memory.
    pub(crate) fn obtain(&self, pool: &Pool<C>, lower: &Lower<C>) -> Option<&'static Slot<C::Env>> {
        let slot = match self.take_unused() {
            Some(slot) => slot,
            None => self.make(pool, lower)?,
        };
        self.active.fetch_add_in::<C::Env>(1, Ordering::Relaxed);
        slot.in_use.store(true, Ordering::Relaxed);
        slot.epoch.store(self.epoch.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(slot)
    }

    fn take_unused(&self) -> Option<&'static Slot<C::Env>> {
        let mut unused = self.unused.lock();
        // SAFETY: slots live for ever.
        let slot: &'static Slot<C::Env> = unsafe { unused.0?.as_ref() };
        unused.0 = NonNull::new(slot.next_unused.load(Ordering::Relaxed));
        Some(slot)
    }

    fn make(&self, pool: &Pool<C>, lower: &Lower<C>) -> Option<&'static Slot<C::Env>> {
        let bytes = size_of::<Slot<C::Env>>();
        let memory =
            pool.cut(&lower.regions, &lower.provider, bytes, Side::End)?.cast::<Slot<C::Env>>();
        // Published under the lock, so that `hold` knows all slots there are.
        let _unused = self.unused.lock();
        let next = NonNull::new(self.all.load(Ordering::Relaxed));
        // SAFETY: fresh memory of the right size and alignment, ours for ever.
        let slot = unsafe {
            memory.write(Slot::new(next));
            memory.as_ref()
        };
        plain::wrote(memory.as_ptr());
        // Release: publishes the slot; pairs with the Acquire in `slots`.
        self.all.store(memory.as_ptr(), Ordering::Release);
        Some(slot)
    }

    /// Takes an empty slot back that no CPU or thread has any more.
    pub(crate) fn put_back(&self, slot: &'static Slot<C::Env>) {
        self.active.fetch_sub_in::<C::Env>(1, Ordering::Relaxed);
        slot.in_use.store(false, Ordering::Relaxed);
        let mut unused = self.unused.lock();
        let next = unused.0.map_or(null_mut(), NonNull::as_ptr);
        slot.next_unused.store(next, Ordering::Relaxed);
        unused.0 = Some(NonNull::from(slot));
    }

    /// All slots, used or not.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &'static Slot<C::Env>> {
        // Acquire: pairs with the Release in `make`.
        let mut at = NonNull::new(self.all.load(Ordering::Acquire));
        core::iter::from_fn(move || {
            // SAFETY: slots live for ever.
            let slot: &'static Slot<C::Env> = unsafe { at?.as_ref() };
            plain::read(slot);
            at = slot.next;
            Some(slot)
        })
    }
}

#[cfg(all(test, loom))]
#[path = "registry_models.rs"]
mod models;
