//! The front end of a heap that one thread uses: no guard, no read-modify-write.

use core::marker::PhantomData;

use super::frontend::{Current, FrontEnd, Resettable};
use super::place::Place;
use super::sheaf::Top;
use super::slot::Slot;
use crate::base::class::Class;
use crate::base::env::Environment;

/// One cache, for callers that never meet: see
/// [`LocalHeap`](crate::heap::LocalHeap), whose type sees to that.
#[derive(Debug)]
pub struct Alone<E: Environment> {
    place: Place,
    types: PhantomData<fn() -> E>,
}

impl<E: Environment> Alone<E> {
    /// Without a cache: it is made at the first miss.
    ///
    /// # Safety
    ///
    /// Caller: of all calls on the heap that gets this, none begins before the
    /// one before it has ended and is known to: they are one thread's, and
    /// nothing that interrupts it uses the heap; or the heap is handed over.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self { place: Place::new(), types: PhantomData }
    }
}

// SAFETY: by the contract of `new` there is one entry at a time, so it is alone
// on the tops, and nobody is inside of another when it stops the slot. The
// place is for the environment `E`.
unsafe impl<E: Environment> FrontEnd<E> for Alone<E> {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        // SAFETY: nobody else is here.
        unsafe { self.place.tops().pop(class) }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.place.tops().push(class, object) }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.place.tops().push_even(class, object) }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.place.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        // SAFETY: of this environment.
        unsafe { self.place.current() }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        // SAFETY: of this environment.
        unsafe { self.place.attach(slot) }
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        self.place.stop(slot)
    }

    fn restart(&self, slot: &Slot<E>) {
        self.place.restart(slot);
    }
}

// SAFETY: slots are known to the place alone, which is as new afterwards.
unsafe impl<E: Environment> Resettable<E> for Alone<E> {
    fn reset(&mut self) {
        self.place = Place::new();
    }
}
