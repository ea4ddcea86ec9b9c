//! Atomics and locks: the one switch between the machine's and those of
//! models, and the only file that names `spin`.
//!
//! Models (`--cfg loom`) run the code of the core as it is, over what
//! `modelled` puts under it; see `check::model`. To them `plain` tells what
//! is written and read without atomics, elsewhere it is nothing.
//!
//! A [`Lock`] is `spin`'s mutex plus the [`Environment`]'s two say-sos: what
//! is kept out while it is held, and how to wait. Waiting spins for a while
//! and then yields: sleeping after 60 spins was measured to cost cross-thread
//! 64 KiB blocks 22 % and 1 MiB blocks 30 % against spinning 2,000 times.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

#[cfg(loom)]
use modelled::{SpinMutex, SpinMutexGuard};
#[cfg(not(loom))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::env::Environment;

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
}

#[cfg(loom)]
pub mod modelled;
#[cfg(loom)]
pub(crate) use modelled::plain;

/// Mutual exclusion over a `T`.
///
/// Public for page providers and kernels, whose locks must keep the same
/// things out; it guards nothing of the heap's that they could reach.
pub struct Lock<T, E> {
    inner: SpinMutex<T>,
    environment: PhantomData<fn() -> E>,
}

/// Proof that the lock is held. Releases it first, the exclusion after.
pub struct Held<'a, T, E: Environment> {
    guard: ManuallyDrop<SpinMutexGuard<'a, T>>,
    _exclusion: E::Exclusion,
}

impl<T, E: Environment> Lock<T, E> {
    /// An open lock.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { inner: SpinMutex::new(value), environment: PhantomData }
    }

    /// Takes the lock, waiting as the environment says.
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
            if !self.inner.is_locked()
                && let Some(held) = self.try_lock()
            {
                return held;
            }
            E::wait(spins);
            spins = spins.saturating_add(1);
        }
    }

    /// Takes the lock if it is open, without waiting: in any context, also on
    /// top of one that holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<Held<'_, T, E>> {
        let exclusion = E::exclude();
        // Acquire in `try_lock` pairs with the Release of the guard's drop.
        let Some(guard) = self.inner.try_lock() else {
            E::found_taken(core::any::type_name::<T>());
            return None;
        };
        Some(Held { guard: ManuallyDrop::new(guard), _exclusion: exclusion })
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
        // SAFETY: by the contract nobody but us has the lock.
        unsafe { self.inner.force_unlock() };
    }
}

impl<T, E: Environment> Deref for Held<'_, T, E> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, E: Environment> DerefMut for Held<'_, T, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T, E: Environment> Drop for Held<'_, T, E> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard is dropped here alone, once. The exclusion, a
        // field, is dropped after this function: the lock opens before
        // nested entries may come.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
    }
}

#[cfg(all(test, loom))]
#[path = "sync_models.rs"]
mod models;
