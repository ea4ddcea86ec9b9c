//! The front end of a heap that one thread uses: no guard, no atomics.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::from_ref;

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
#[derive(Debug)]
pub struct Alone<E: Environment> {
    /// What fast paths use: `STOPPED` where there is no cache.
    tops: Cell<&'static Tops>,
    slot: Cell<Option<&'static Slot<E>>>,
    owner: Cell<Owner>,
}

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
        Self { tops: Cell::new(&STOPPED), slot: Cell::new(None), owner: Cell::new(Owner::Any) }
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
        unsafe { self.tops.get().pop(class) }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        self.check_caller();
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.tops.get().push(class, object) }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        self.check_caller();
        // SAFETY: nobody else is here; the rest by the contract.
        unsafe { self.tops.get().push_even(class, object) }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let tops = self.tops.get();
        // SAFETY: nobody else is here; the rest by the contract; `STOPPED` is
        // never written.
        !core::ptr::eq(tops, &raw const STOPPED) && unsafe { tops.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        self.check_caller();
        match self.slot.get() {
            None => Current::Absent,
            Some(_) if core::ptr::eq(self.tops.get(), &raw const STOPPED) => Current::Stopped,
            Some(slot) => Current::Slot(slot),
        }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        let attached = self.slot.get().is_none();
        if attached {
            self.slot.set(Some(slot));
            self.tops.set(slot.tops());
        }
        attached
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        let runs = core::ptr::eq(self.tops.get(), slot.tops());
        if runs {
            self.tops.set(&STOPPED);
        }
        runs
    }

    fn restart(&self, slot: &Slot<E>) {
        if let Some(own) = self.slot.get()
            && core::ptr::eq(own, slot)
        {
            self.tops.set(own.tops());
        }
    }
}

// SAFETY: slots are known to the cells alone, which are as new afterwards.
unsafe impl<E: Environment> Resettable<E> for Alone<E> {
    fn reset(&mut self) {
        self.tops.set(&STOPPED);
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
