//! A CPU's cache: what its fast paths use, and the stash behind it.
//!
//! Locks: `stash`. Paths only try it: who finds it taken (after a migration) goes to
//! the depot instead. Drains and statistics wait for it. While it is held a path may swap
//! the sheaf in use, and put objects aside; calls that may not wait try the depot's lock
//! or the pool's under it. Nothing else is called.

use core::ptr::NonNull;

use super::stash::Stash;
use super::tops::Tops;
use crate::base::class::Class;
use crate::base::env::{Environment, elapsed_ms};
use crate::base::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::base::sync::{Lock, Update};

/// The cache of one CPU or thread.
#[repr(C, align(64))]
pub struct Slot<E: Environment> {
    /// First, so that a pointer to the slot is one to its tops.
    tops: Tops,
    /// The drain the slot has last taken part in. Here begins a line of what all misses
    /// look at; it ends with the stash's bits of classes.
    pub(crate) epoch: AtomicU32,
    pub(crate) recent: Recent,
    /// Misses of allocations and of frees.
    pub(crate) refills: Tally,
    pub(crate) overflows: Tally,
    /// The node whose objects are stashed, where nodes are told apart.
    pub(crate) node: AtomicU32,
    pub(crate) stash: Lock<Stash, E>,
    /// The next slot in the list of all, written once.
    pub(crate) next: Option<NonNull<Slot<E>>>,
    /// The next slot in the list of unused ones, under the registry's lock.
    pub(crate) next_unused: AtomicPtr<Slot<E>>,
    /// What the last looks saw of misses.
    pub(crate) idle: Idle,
    /// Whether a CPU or thread has the slot.
    pub(crate) in_use: AtomicBool,
}

/// A number of misses, modulo 2^32. Two at once, one of which was moved to another
/// CPU meanwhile, may count as one: an exchange costs as much as the stash's lock.
pub(crate) struct Tally(AtomicU32);

impl Tally {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more; returns how many there are now.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        // Relaxed: a number that nothing hangs on.
        let count = self.0.load(Relaxed).wrapping_add(1);
        self.0.store(count, Relaxed);
        count
    }

    /// How many there are.
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Since when a slot has missed nothing. Written by whoever has the tick.
pub(crate) struct Idle {
    misses: AtomicU32,
    since: AtomicU32,
    drained: AtomicBool,
}

impl Idle {
    const fn new() -> Self {
        Self { misses: AtomicU32::new(0), since: AtomicU32::new(0), drained: AtomicBool::new(true) }
    }

    /// Whether there has been no miss for `delay` milliseconds, as far as
    /// calls with the present count of `misses` tell, nor a drain.
    pub(crate) fn is_due<E: Environment>(&self, misses: u32, now: u32, delay: u32) -> bool {
        if self.misses.swap_in::<E>(misses, Relaxed) != misses {
            self.since.store(now, Relaxed);
            self.drained.store(false, Relaxed);
        }
        !self.drained.load(Relaxed) && elapsed_ms(self.since.load(Relaxed), now) >= delay
    }

    /// Notes a drain: there is nothing more to do before the next miss.
    pub(crate) fn note_drained(&self) {
        self.drained.store(true, Relaxed);
    }
}

/// What a slot knows of its runs beside their sheaves.
pub(crate) struct Recent {
    /// One bit for each class of runs that was freed since the last flush.
    pub(crate) freed: AtomicU32,
    /// The age at the last flush.
    pub(crate) age: AtomicU32,
}

impl Recent {
    const fn new() -> Self {
        Self { freed: AtomicU32::new(0), age: AtomicU32::new(0) }
    }
}

impl<E: Environment> core::fmt::Debug for Slot<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl<E: Environment> Slot<E> {
    pub(crate) const fn new(next: Option<NonNull<Self>>) -> Self {
        Self {
            tops: Tops::new(),
            stash: Lock::new(Stash::new()),
            recent: Recent::new(),
            next,
            next_unused: AtomicPtr::new(core::ptr::null_mut()),
            in_use: AtomicBool::new(false),
            node: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            refills: Tally::new(),
            overflows: Tally::new(),
            idle: Idle::new(),
        }
    }

    /// Bytes of objects in the sheaves in use and in the stash.
    pub(crate) fn cached_bytes(&self) -> usize {
        let in_use = Class::all().map(|class| self.tops.observe(class).len() * class.size());
        in_use.sum::<usize>() + self.stash.lock().bytes()
    }

    /// What fast paths act on.
    #[inline(always)]
    pub fn tops(&self) -> &Tops {
        &self.tops
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use core::mem::{offset_of, size_of_val};

    use super::*;
    use crate::check::surroundings::TestEnv;

    #[test]
    fn what_misses_look_at_lies_on_one_line() {
        let slot = Slot::<TestEnv>::new(None);
        let stash = offset_of!(Slot<TestEnv>, stash);
        let value = (&raw const *slot.stash.lock()).addr() - (&raw const slot).addr();
        assert_eq!(offset_of!(Slot<TestEnv>, epoch) % 64, 0);
        assert_eq!((stash % 64, value - stash), (24, 8));
        assert_eq!(size_of_val(&slot) % 64, 0);
    }
}
