//! Atomics and locks: the one switch between the machine's and those of models.
//!
//! Models (`--cfg loom`) run the code of the core as it is, over what
//! `modelled` puts under it; see `check::model`. To them `plain` tells what
//! is written and read without atomics, elsewhere it is nothing.
//!
//! A [`Lock`] is a flag plus the [`Environment`]'s say-sos: what is kept out
//! while it is held, how to wait, and whether there is anybody to wait for: where
//! there is not, taking it is a test and a store, see `update`. (A mutex of
//! another crate's cannot be told that, and needs compare-and-swap.) Waiting spins
//! for a while and then yields: sleeping after 60 spins was measured to cost
//! cross-thread 64 KiB blocks 22 % and 1 MiB blocks 30 % against spinning 2,000
//! times.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use self::atomic::{AtomicBool, Ordering};
use super::env::Environment;
use super::fault::{Fault, FaultKind};

/// The atomics of the core and of what is plugged into it.
pub mod atomic {
    #[cfg(loom)]
    pub use super::modelled::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence, spin_loop,
    };
    #[cfg(all(not(loom), target_has_atomic = "64"))]
    pub use core::sync::atomic::AtomicU64;
    pub use core::sync::atomic::Ordering;
    #[cfg(not(loom))]
    pub use core::{
        hint::spin_loop,
        sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, fence},
    };
}

/// Accesses to memory that has no lock of its own, told to models.
#[cfg(not(loom))]
pub(crate) mod plain {
    /// The caller writes to all of `place`.
    #[inline(always)]
    pub(crate) fn wrote<T>(_place: *const T) {}

    /// The caller reads `place`.
    #[inline(always)]
    pub(crate) fn read<T>(_place: *const T) {}

    /// The caller has the memory to itself, even if it is none.
    #[inline(always)]
    pub(crate) fn wrote_bytes(_start: usize, _bytes: usize) {}
}

#[cfg(loom)]
pub mod modelled;
#[cfg(loom)]
pub(crate) use modelled::plain;

mod gate;
pub(crate) use gate::Gate;
mod update;
pub(crate) use update::{Count, Update};

/// Mutual exclusion over a `T`.
///
/// Public for page providers and kernels, whose locks must keep the same
/// things out; it guards nothing of the heap's that they could reach.
///
/// What tells whether it is taken comes first, on one line with the first of what it
/// guards.
#[repr(C)]
pub struct Lock<T, E> {
    closed: AtomicBool,
    value: UnsafeCell<T>,
    environment: PhantomData<fn() -> E>,
}

// SAFETY: the value is reached by one holder after another, see `try_lock`.
unsafe impl<T: Send, E> Sync for Lock<T, E> {}

/// Proof that the lock is held. Opens it first, the exclusion ends after.
#[must_use = "dropping it opens the lock"]
pub struct Held<'a, T, E: Environment> {
    lock: &'a Lock<T, E>,
    _exclusion: E::Exclusion,
}

impl<T, E: Environment> Lock<T, E> {
    /// An open lock.
    #[must_use]
    pub const fn new(value: T) -> Self {
        let environment = PhantomData;
        Self { closed: AtomicBool::new(false), value: UnsafeCell::new(value), environment }
    }

    /// Takes the lock, waiting as the environment says. Where calls cannot overlap
    /// there is nobody to wait for: that it is taken is reported as
    /// [`FaultKind::NotAlone`].
    #[inline]
    pub fn lock(&self) -> Held<'_, T, E> {
        match self.try_lock() {
            Some(held) => held,
            None => self.lock_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> Held<'_, T, E> {
        let mut spins = 0u32;
        loop {
            if !E::shared() {
                E::fatal(Fault::new(FaultKind::NotAlone, (&raw const *self).cast()));
            }
            if !self.is_closed()
                && let Some(held) = self.try_lock()
            {
                return held;
            }
            E::wait(spins);
            spins = spins.saturating_add(1);
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        // Relaxed: `try_lock` decides.
        self.closed.load(Ordering::Relaxed)
    }

    /// Takes the lock if it is open, without waiting: in any context, also on
    /// top of one that holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<Held<'_, T, E>> {
        let exclusion = E::exclude();
        #[cfg(test)]
        if E::finds_lock_taken() {
            return None;
        }
        // Acquire: pairs with the Release in `open`.
        if self.closed.compare_exchange_in::<E>(false, true, Ordering::Acquire).is_err() {
            E::found_taken(core::any::type_name::<T>());
            return None;
        }
        // Also where there is nothing: the lock may guard other data.
        plain::wrote_bytes(self.value.get().addr(), size_of::<T>());
        Some(Held { lock: self, _exclusion: exclusion })
    }

    fn open(&self) {
        // Release: pairs with the Acquire in `try_lock`.
        self.closed.store(false, Ordering::Release);
    }

    /// Takes the lock and keeps it closed beyond any scope, for `fork`.
    pub fn hold(&self) {
        core::mem::forget(self.lock());
    }

    /// Closes all of these, in their order.
    pub(crate) fn hold_all(locks: &[Self]) {
        locks.iter().for_each(Self::hold);
    }

    /// Opens them again.
    ///
    /// # Safety
    ///
    /// Caller: as for [`unhold`](Self::unhold), for each.
    pub(crate) unsafe fn unhold_all(locks: &[Self]) {
        for lock in locks {
            // SAFETY: by the contract.
            unsafe { lock.unhold() };
        }
    }

    /// Opens a lock closed by [`hold`](Self::hold).
    ///
    /// # Safety
    ///
    /// Caller: the lock is closed by `hold`, by this thread or, in the child
    /// of a fork, by the thread that this one is the copy of.
    pub unsafe fn unhold(&self) {
        // By the contract nobody but the caller has the lock.
        self.open();
    }
}

impl<T, E: Environment> Deref for Held<'_, T, E> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is this holder's as long as `self` exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, E: Environment> DerefMut for Held<'_, T, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, E: Environment> Drop for Held<'_, T, E> {
    #[inline]
    fn drop(&mut self) {
        // The exclusion, a field, is dropped after this function: the lock is
        // open before nested entries may come.
        self.lock.open();
    }
}

#[cfg(all(test, loom))]
#[path = "sync_models.rs"]
mod models;
