//! Places for functions that one core sets and every core calls.

use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function or nothing.
pub(crate) struct Handler(AtomicPtr<()>);

impl Handler {
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    pub(crate) fn set(&self, handler: fn()) {
        // Release: the handler sees what was done before it was set; pairs
        // with the Acquire in `call`.
        self.0.store((handler as *const ()).cast_mut(), Ordering::Release);
    }

    pub(crate) fn call(&self) {
        let handler = self.0.load(Ordering::Acquire);
        if !handler.is_null() {
            // SAFETY: only `set` stores anything but null, and that a `fn()`.
            unsafe { transmute::<*mut (), fn()>(handler)() };
        }
    }
}
