//! The front end of a heap that one thread uses: no guard, no atomics.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{NonNull, from_ref};

use super::frontend::{Current, FrontEnd, Resettable};
use super::sheaf::Top;
use super::slot::Slot;
use super::tops::{STOPPED, Tops};
use crate::base::class::Class;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};

/// One cache, for callers that never meet: see
/// [`LocalHeap`](crate::heap::LocalHeap), whose type sees to that, and
/// [`of_one_thread`](Self::of_one_thread).
///
/// Pointers, not references: a heap that is dropped gives its slot's memory back
/// while it is an argument, and references in it would promise that the memory
/// lasts until its drop returns. They are to a slot, and to its tops or `STOPPED`:
/// memory that is never anything else (C2) until the front end is reset (E1).
#[derive(Debug)]
pub struct Alone<E: Environment> {
    /// What fast paths use: `STOPPED` where there is no cache.
    tops: Cell<NonNull<Tops>>,
    slot: Cell<Option<NonNull<Slot<E>>>>,
    owner: Cell<Owner>,
}

/// The tops of a heap without a cache, which are never written.
// SAFETY: the address of a static.
const NO_TOPS: NonNull<Tops> = unsafe { NonNull::new_unchecked((&raw const STOPPED).cast_mut()) };

// SAFETY: by the contract of `new` no two calls overlap, whoever makes them.
unsafe impl<E: Environment> Sync for Alone<E> {}
// SAFETY: likewise; its slot is reached by calls alone.
unsafe impl<E: Environment> Send for Alone<E> {}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Whoever has been handed the heap.
    Any,
    /// The first caller, who has not come yet.
    First,
    /// The thread of this number, see [`Environment::thread`].
    Thread(u32),
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
        Self { tops: Cell::new(NO_TOPS), slot: Cell::new(None), owner: Cell::new(Owner::Any) }
    }

    /// The same for a heap that is never handed over. With debug assertions each
    /// call compares the thread's number with that of the first one, and reports
    /// [`FaultKind::NotAlone`]; an environment whose threads have no numbers
    /// checks nothing.
    ///
    /// # Safety
    ///
    /// Caller: as for [`new`](Self::new).
    #[must_use]
    pub const unsafe fn of_one_thread() -> Self {
        // SAFETY: by the contract.
        let front = unsafe { Self::new() };
        Self { owner: Cell::new(Owner::First), ..front }
    }

    /// After this the next caller's thread is the one: in the child of a fork, say,
    /// which has another number.
    pub fn hand_over(&mut self) {
        if let Owner::Thread(_) = self.owner.get() {
            self.owner.set(Owner::First);
        }
    }

    #[inline(always)]
    fn tops(&self) -> &Tops {
        // SAFETY: tops, and never anything else (C2, E1).
        unsafe { self.tops.get().as_ref() }
    }

    #[inline(always)]
    fn check_caller(&self) {
        if cfg!(debug_assertions) && self.owner.get() != Owner::Any {
            self.compare_caller(E::thread());
        }
    }

    fn compare_caller(&self, thread: u32) {
        match self.owner.get() {
            Owner::First if thread != 0 => self.owner.set(Owner::Thread(thread)),
            Owner::Thread(owner) if owner != thread => {
                E::fatal(Fault::new(FaultKind::NotAlone, from_ref(self).cast()))
            }
            _ => {}
        }
    }
}

// SAFETY: by the contract of `new` there is one entry at a time, so it is alone
// on the tops, and nobody is inside of another when it stops the slot.
unsafe impl<E: Environment> FrontEnd<E> for Alone<E> {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        self.check_caller();
        // SAFETY: nobody else is here.
        unsafe { self.tops().pop(class) }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        self.check_caller();
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.tops().push(class, object) }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        self.check_caller();
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.tops().push_even(class, object) }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: nobody else is here; the rest by the contract; `STOPPED` is
        // never written.
        self.tops.get() != NO_TOPS && unsafe { self.tops().swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        self.check_caller();
        match self.slot.get() {
            None => Current::Absent,
            Some(_) if self.tops.get() == NO_TOPS => Current::Stopped,
            // SAFETY: a slot, and never anything else (C2, E1).
            Some(slot) => Current::Slot(unsafe { slot.as_ref() }),
        }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        let attached = self.slot.get().is_none();
        if attached {
            self.slot.set(Some(NonNull::from(slot)));
            self.tops.set(NonNull::from(slot.tops()));
        }
        attached
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        let runs = self.tops.get() == NonNull::from(slot.tops());
        if runs {
            self.tops.set(NO_TOPS);
        }
        runs
    }

    fn restart(&self, slot: &Slot<E>) {
        if self.slot.get() == Some(NonNull::from(slot)) {
            self.tops.set(NonNull::from(slot.tops()));
        }
    }
}

// SAFETY: slots are known to the cells alone, which are as new afterwards.
unsafe impl<E: Environment> Resettable<E> for Alone<E> {
    fn reset(&mut self) {
        self.tops.set(NO_TOPS);
        self.slot.set(None);
    }
}

/// An environment, of heaps whose calls never overlap. Within the crate, because
/// the promise is of who makes the heap: a heap that could be shared must not
/// name it.
#[derive(Debug)]
pub(crate) struct Unshared<E>(PhantomData<fn() -> E>);

// SAFETY: as `E`; that nothing is shared is the duty of those who name it.
unsafe impl<E: Environment> Environment for Unshared<E> {
    type Exclusion = E::Exclusion;

    #[inline(always)]
    fn shared() -> bool {
        false
    }

    #[inline(always)]
    fn exclude() -> E::Exclusion {
        E::exclude()
    }

    fn wait(spins: u32) {
        E::wait(spins);
    }

    fn found_taken(guards: &'static str) {
        E::found_taken(guards);
    }

    #[inline]
    fn now_ms() -> u32 {
        E::now_ms()
    }

    fn random() -> u64 {
        E::random()
    }

    #[inline]
    fn thread() -> u32 {
        E::thread()
    }

    #[inline]
    fn known_thread() -> Option<u32> {
        E::known_thread()
    }

    fn guards_begin() {
        E::guards_begin();
    }

    fn fatal(fault: Fault) -> ! {
        E::fatal(fault)
    }
}

#[cfg(all(test, not(loom)))]
#[path = "alone_tests.rs"]
mod tests;
