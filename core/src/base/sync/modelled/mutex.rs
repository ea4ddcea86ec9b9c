//! `spin`'s mutex in models: the same three accesses, and a witness that what
//! it guards is accessed by one holder after another.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering;

use super::{AtomicBool, plain};

/// As `spin::mutex::SpinMutex`.
pub(crate) struct SpinMutex<T> {
    lock: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: as for any mutex: what is in it is reached by one holder at a time.
unsafe impl<T: Send> Sync for SpinMutex<T> {}

/// As `spin::mutex::SpinMutexGuard`.
pub(crate) struct SpinMutexGuard<'a, T>(&'a SpinMutex<T>);

impl<T> SpinMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { lock: AtomicBool::new(false), data: UnsafeCell::new(value) }
    }

    /// What is guarded, for those who ask whether they may reach it.
    #[cfg(test)]
    pub(crate) fn data(&self) -> *const T {
        self.data.get()
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.lock.load(Ordering::Relaxed)
    }

    pub(crate) fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
        // Acquire: pairs with the Release of the guard's drop.
        self.lock.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok().then(
            || {
                // Also where there is nothing: the lock may guard other data.
                plain::wrote_bytes(self.data.get().addr(), size_of::<T>());
                SpinMutexGuard(self)
            },
        )
    }

    /// # Safety
    ///
    /// Caller: has the lock, and no guard of it is left.
    pub(crate) unsafe fn force_unlock(&self) {
        // Release: pairs with the Acquire in `try_lock`.
        self.lock.store(false, Ordering::Release);
    }
}

impl<T> Deref for SpinMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held as long as the guard exists.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for SpinMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed mutably.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for SpinMutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this is the guard, and it is gone after this.
        unsafe { self.0.force_unlock() };
    }
}
