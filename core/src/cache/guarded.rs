//! The portable front end: an array of caches indexed by a CPU id.
//!
//! For kernels, firmware and tests. A [`Cpu`] says which CPU the caller is on
//! and keeps it there for a few instructions; the hit path is then plain
//! loads and stores, without atomic read-modify-writes. (Linux's sheaves do
//! the same under `local_trylock`.)

use core::marker::PhantomData;
use core::ptr::null_mut;

use super::frontend::{Current, FrontEnd, NoSuchCpu, Resettable};
use super::place::Place;
use super::sheaf::Top;
use super::slot::Slot;
use crate::base::class::Class;
use crate::base::env::Environment;
use crate::provider::Node;

/// Which CPU the caller runs on.
///
/// # Safety
///
/// Implementor:
/// - ids are below [`CPUS`](Self::CPUS);
/// - while a guard exists, no other `try_enter` for the same id succeeds:
///   preemption is off, or the id is the thread's own, or a flag is taken; an
///   interrupt on top of a guard gets `None`;
/// - guards order memory: what was done under one is visible under the next
///   with the same id;
/// - no function allocates or frees through the heap it serves.
pub unsafe trait Cpu: 'static {
    /// Keeps the caller on its CPU, and others off its cache.
    type Guard;

    /// All ids are below this. Where it is at most a front end's `N`, hits
    /// need not compare.
    const CPUS: usize = usize::MAX;

    /// The caller's CPU and the guard; `None` when the CPU is entered already
    /// or has no number. A number that a front end has no cache for works
    /// without one.
    fn try_enter() -> Option<(usize, Self::Guard)>;

    /// The node of memory that the caller's CPU is near to, see
    /// [`FrontEnd::node`]. Asked without a guard.
    #[inline]
    fn node() -> Node {
        Node(0)
    }

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
    places: [Place; N],
    types: PhantomData<fn() -> (P, E)>,
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
        Self { places: [const { Place::new() }; N], types: PhantomData }
    }

    /// What the fast paths of a CPU act on is in its place; `None` where the number
    /// has no cache. For front ends around this one, whose callers are alone on the
    /// CPU.
    #[inline(always)]
    pub fn place_of(&self, cpu: usize) -> Option<&Place> {
        self.places.get(cpu)
    }

    fn index_of(&self, slot: &Slot<E>) -> Option<usize> {
        // SAFETY: all places of a front end are for its environment.
        let slots = self.places.iter().map(|place| unsafe { place.slot::<E>() });
        slots.enumerate().find_map(|(cpu, other)| core::ptr::eq(other?, slot).then_some(cpu))
    }
}

impl<P: Cpu, E: Environment, const N: usize> Guarded<P, E, N> {
    /// The place of the caller's CPU, its number, and the guard.
    #[inline(always)]
    fn enter(&self) -> Option<(&Place, usize, P::Guard)> {
        let (cpu, guard) = P::try_enter()?;
        // A constant where the CPUs are few enough, by their contract.
        if P::CPUS > N && cpu >= N {
            return None;
        }
        // SAFETY: below `N`, as just tested or by the contract of `Cpu`.
        Some((unsafe { self.places.get_unchecked(cpu) }, cpu, guard))
    }
}

// SAFETY: under the guard of a `Cpu` nobody else acts on the same tops. A
// stopped CPU's fast paths see `STOPPED`; after `quiesce`, or on the caller's
// own CPU at once, nobody is left who saw anything else. All places are for
// the environment `E`.
unsafe impl<P: Cpu, E: Environment, const N: usize> FrontEnd<E> for Guarded<P, E, N> {
    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        match self.enter() {
            // SAFETY: the guard is held.
            Some((place, _, _guard)) => unsafe { place.tops().pop(class) },
            None => null_mut(),
        }
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match self.enter() {
            // SAFETY: the guard is held; the rest by the contract.
            Some((place, _, _guard)) => unsafe { place.tops().push(class, object) },
            None => false,
        }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        match self.enter() {
            // SAFETY: the guard is held; the rest by the contract.
            Some((place, _, _guard)) => unsafe { place.tops().push_even(class, object) },
            None => false,
        }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let Some((place, _, _guard)) = self.enter() else { return false };
        // SAFETY: the guard is held; the rest by the contract.
        unsafe { place.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        let Some((place, _, _guard)) = self.enter() else { return Current::Stopped };
        // SAFETY: of this environment.
        unsafe { place.current() }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        let Some((place, _, _guard)) = self.enter() else { return false };
        // SAFETY: of this environment.
        unsafe { place.attach(slot) }
    }

    #[inline]
    fn node(&self) -> Node {
        P::node()
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<E>>, NoSuchCpu> {
        let place = self.places.get(cpu).ok_or(NoSuchCpu)?;
        // SAFETY: of this environment.
        Ok(unsafe { place.slot() })
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        let Some(cpu) = self.index_of(slot) else { return false };
        let place = &self.places[cpu];
        // Under the guard of its own CPU the caller is alone on it already.
        let guard = self.enter().filter(|(_, own, _)| *own == cpu);
        let stopped = place.stop(slot);
        let alone = guard.is_some();
        drop(guard);
        if stopped && !alone && !P::quiesce(cpu) {
            place.restart(slot);
            return false;
        }
        stopped
    }

    fn restart(&self, slot: &Slot<E>) {
        if let Some(cpu) = self.index_of(slot) {
            self.places[cpu].restart(slot);
        }
    }
}

// SAFETY: slots are known to the places alone, which are as new afterwards.
unsafe impl<P: Cpu, E: Environment, const N: usize> Resettable<E> for Guarded<P, E, N> {
    fn reset(&mut self) {
        self.places = [const { Place::new() }; N];
    }
}

#[cfg(all(test, loom))]
#[path = "guarded_models.rs"]
mod models;
