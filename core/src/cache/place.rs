//! Where a CPU finds its cache: two words, one for each kind of path.
//!
//! A CPU that is stopped, or has no cache yet, is led to [`STOPPED`], where
//! every fast path misses; slow paths see the slot, and whether it is in use.

use core::ptr::null_mut;

use super::frontend::Current;
use super::sheaf::Top;
use super::slot::Slot;
use super::tops::{STOPPED, Tops};
use crate::base::class::Class;
use crate::base::env::Environment;
use crate::base::sync::Update;
use crate::base::sync::atomic::{AtomicPtr, Ordering};

/// The place of one CPU, in a front end or in the CPU's own data.
///
/// It does not say for which environment its slot is: all calls on one place
/// name the same.
#[derive(Debug)]
pub struct Place {
    /// What fast paths use: `STOPPED` where there is no cache.
    tops: AtomicPtr<Tops>,
    /// What slow paths use, a `Slot`: null where there is no cache.
    slot: AtomicPtr<()>,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

fn stopped() -> *mut Tops {
    (&raw const STOPPED).cast_mut()
}

impl Place {
    /// Without a cache: one is made at the first miss.
    #[must_use]
    pub const fn new() -> Self {
        let stopped = (&raw const STOPPED).cast_mut();
        Self { tops: AtomicPtr::new(stopped), slot: AtomicPtr::new(null_mut()) }
    }

    /// What a fast path acts on.
    #[inline(always)]
    pub fn tops(&self) -> &Tops {
        // Acquire: pairs with the Release in `attach` and `restart`.
        // SAFETY: `STOPPED`, or a slot's tops: both live for ever.
        unsafe { &*self.tops.load(Ordering::Acquire) }
    }

    /// As [`FrontEnd::swap`](super::FrontEnd::swap).
    ///
    /// # Safety
    ///
    /// Caller: is alone on the CPU, see [`Tops::swap`]; the rest as there.
    pub unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let tops = self.tops();
        // SAFETY: by the contract; `STOPPED` is never written.
        !core::ptr::eq(tops, stopped()) && unsafe { tops.swap(class, expected, new) }
    }

    /// The slot, whether it is in use or stopped.
    ///
    /// # Safety
    ///
    /// Caller: names the environment that all others did.
    pub unsafe fn slot<E: Environment>(&self) -> Option<&Slot<E>> {
        // Acquire: pairs with the Release in `attach`.
        let slot = self.slot.load(Ordering::Acquire).cast::<Slot<E>>();
        // SAFETY: stored by `attach`, of this environment; slots live for ever.
        unsafe { slot.as_ref() }
    }

    /// As [`FrontEnd::current`](super::FrontEnd::current), for this CPU.
    ///
    /// # Safety
    ///
    /// Caller: as for [`slot`](Self::slot).
    pub unsafe fn current<E: Environment>(&self) -> Current<'_, E> {
        // SAFETY: by the contract.
        match unsafe { self.slot() } {
            None => Current::Absent,
            Some(_) if core::ptr::eq(self.tops(), stopped()) => Current::Stopped,
            Some(slot) => Current::Slot(slot),
        }
    }

    /// As [`FrontEnd::attach`](super::FrontEnd::attach), for this CPU.
    ///
    /// # Safety
    ///
    /// Caller: as for [`slot`](Self::slot).
    pub unsafe fn attach<E: Environment>(&self, slot: &'static Slot<E>) -> bool {
        let pointer = core::ptr::from_ref(slot).cast_mut().cast();
        // Release: publishes the slot; pairs with the Acquire in `slot`.
        let attached =
            self.slot.compare_exchange_in::<E>(null_mut(), pointer, Ordering::Release).is_ok();
        if attached {
            self.restart(slot);
        }
        attached
    }

    /// Leads fast paths away from the slot; `false` when they are already.
    /// Those that are under way have to be waited for.
    pub fn stop<E: Environment>(&self, slot: &Slot<E>) -> bool {
        let tops = core::ptr::from_ref(slot.tops()).cast_mut();
        // Acquire: two drains exclude each other; pairs with the Release in
        // `restart`. Nothing is handed over to those who see `STOPPED`.
        self.tops.compare_exchange_in::<E>(tops, stopped(), Ordering::Acquire).is_ok()
    }

    /// Leads fast paths to the slot, which is this place's.
    pub fn restart<E: Environment>(&self, slot: &Slot<E>) {
        // Release: what was done to the slot is seen by the next fast path;
        // pairs with the Acquire in `tops`.
        self.tops.store(core::ptr::from_ref(slot.tops()).cast_mut(), Ordering::Release);
    }
}

#[cfg(all(test, loom))]
#[path = "place_models.rs"]
mod models;
