//! The portable front end: an array of caches indexed by a CPU id.
//!
//! For kernels, firmware and tests. A [`Cpu`] says which CPU the caller is on
//! and keeps it there for a few instructions; the hit path is then plain
//! loads and stores, without atomic read-modify-writes. (Linux's sheaves do
//! the same under `local_trylock`.)

use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::frontend::{Current, FrontEnd, NoSuchCpu};
use super::sheaf::Top;
use super::slot::Slot;
use super::tops::{STOPPED, Tops};
use crate::base::class::Class;
use crate::base::env::Environment;

/// Which CPU the caller runs on.
///
/// # Safety
///
/// Implementor:
/// - while a guard exists, no other `try_enter` for the same id succeeds:
///   preemption is off, or the id is the thread's own, or a flag is taken; an
///   interrupt on top of a guard gets `None`;
/// - guards order memory: what was done under one is visible under the next
///   with the same id;
/// - no function allocates or frees through the heap it serves.
pub unsafe trait Cpu: 'static {
    /// Keeps the caller on its CPU, and others off its cache.
    type Guard;

    /// The caller's CPU, below the front end's `N`, and the guard; `None`
    /// when the CPU is entered already or has no number.
    fn try_enter() -> Option<(usize, Self::Guard)>;

    /// Waits until the guard that exists on `cpu` at the call, if any, is
    /// gone. `false` when that cannot be had (a guard of the caller's own
    /// context, a CPU that does not answer): its cache then cannot be drained.
    fn quiesce(cpu: usize) -> bool {
        let _ = cpu;
        false
    }
}

/// Caches of up to `N` CPUs. CPUs beyond work without a cache.
pub struct Guarded<P, E: Environment, const N: usize> {
    /// What fast paths use: `STOPPED` where there is no cache.
    tops: [AtomicPtr<Tops>; N],
    /// What slow paths use: null where there is no cache.
    slots: [AtomicPtr<Slot<E>>; N],
    cpu: PhantomData<fn() -> P>,
}

impl<P, E: Environment, const N: usize> core::fmt::Debug for Guarded<P, E, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Guarded").field("cpus", &N).finish_non_exhaustive()
    }
}

impl<P, E: Environment, const N: usize> Default for Guarded<P, E, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, E: Environment, const N: usize> Guarded<P, E, N> {
    /// Every CPU without a cache: they are made at the first miss.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tops: [const { AtomicPtr::new((&raw const STOPPED).cast_mut()) }; N],
            slots: [const { AtomicPtr::new(null_mut()) }; N],
            cpu: PhantomData,
        }
    }

    #[inline(always)]
    fn tops(&self, cpu: usize) -> &Tops {
        // SAFETY: `STOPPED`, or a slot's tops: both live for ever.
        unsafe { &*self.tops[cpu].load(Ordering::Acquire) }
    }

    fn index_of(&self, slot: &Slot<E>) -> Option<usize> {
        let slot = core::ptr::from_ref(slot);
        self.slots.iter().position(|entry| core::ptr::eq(entry.load(Ordering::Acquire), slot))
    }
}

// SAFETY: under the guard of a `Cpu` nobody else acts on the same tops. A
// stopped CPU's fast paths see `STOPPED`; after `quiesce`, or on the caller's
// own CPU at once, nobody is left who saw anything else.
unsafe impl<P: Cpu, E: Environment, const N: usize> FrontEnd<E> for Guarded<P, E, N> {
    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        match P::try_enter() {
            // SAFETY: the guard is held.
            Some((cpu, _guard)) if cpu < N => unsafe { self.tops(cpu).pop(class) },
            _ => null_mut(),
        }
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match P::try_enter() {
            // SAFETY: the guard is held; the rest by the contract.
            Some((cpu, _guard)) if cpu < N => unsafe { self.tops(cpu).push(class, object) },
            _ => false,
        }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let Some((cpu, _guard)) = P::try_enter().filter(|(cpu, _)| *cpu < N) else {
            return false;
        };
        let tops = self.tops(cpu);
        // SAFETY: the guard is held, `STOPPED` is never written; the rest by
        // the contract.
        !core::ptr::eq(tops, &raw const STOPPED) && unsafe { tops.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        let Some((cpu, _guard)) = P::try_enter().filter(|(cpu, _)| *cpu < N) else {
            return Current::Stopped;
        };
        // Acquire: pairs with the Release in `attach`.
        match NonNull::new(self.slots[cpu].load(Ordering::Acquire)) {
            None => Current::Absent,
            Some(_) if core::ptr::eq(self.tops(cpu), &raw const STOPPED) => Current::Stopped,
            // SAFETY: slots live for ever.
            Some(slot) => Current::Slot(unsafe { slot.as_ref() }),
        }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        let Some((cpu, _guard)) = P::try_enter().filter(|(cpu, _)| *cpu < N) else {
            return false;
        };
        let pointer = core::ptr::from_ref(slot).cast_mut();
        // Release: publishes the slot; pairs with the Acquire in `current`.
        let attached = self.slots[cpu]
            .compare_exchange(null_mut(), pointer, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if attached {
            let tops = core::ptr::from_ref(slot.tops()).cast_mut();
            // Release: pairs with the Acquire in `tops`.
            self.tops[cpu].store(tops, Ordering::Release);
        }
        attached
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<E>>, NoSuchCpu> {
        let slot = self.slots.get(cpu).ok_or(NoSuchCpu)?;
        // Acquire: pairs with the Release in `attach`.
        // SAFETY: slots live for ever.
        Ok(unsafe { slot.load(Ordering::Acquire).as_ref() })
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        let Some(cpu) = self.index_of(slot) else { return false };
        let tops = core::ptr::from_ref(slot.tops()).cast_mut();
        let stopped = (&raw const STOPPED).cast_mut();
        // Under the guard of its own CPU the caller is alone on it already.
        let guard = P::try_enter().filter(|(own, _)| *own == cpu);
        // Acquire and Release: two drains exclude each other; pairs with
        // `restart`.
        let won = self.tops[cpu]
            .compare_exchange(tops, stopped, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        let alone = guard.is_some();
        drop(guard);
        if won && !alone && !P::quiesce(cpu) {
            self.restart(slot);
            return false;
        }
        won
    }

    fn restart(&self, slot: &Slot<E>) {
        if let Some(cpu) = self.index_of(slot) {
            // Release: what the drain did is seen by the next fast path,
            // whose load of the tops acquires.
            self.tops[cpu].store(core::ptr::from_ref(slot.tops()).cast_mut(), Ordering::Release);
        }
    }
}
