//! The front end of a kernel's one heap: each CPU's cache is found through
//! the CPU's own [`CpuLocal`], without an array.
//!
//! Of a hit's instructions three to five are the way from a CPU's number to
//! its entry in the array of [`Guarded`](granule_core::cache::guarded::Guarded);
//! here there are none. The price: the locals are this front end's, so there
//! can be one, and further heaps of the kernel use `Guarded`.

use core::marker::PhantomData;

use granule_core::Environment;
use granule_core::base::class::Class;
use granule_core::cache::guarded::Cpu;
use granule_core::cache::place::Place;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::{Current, FrontEnd, NoSuchCpu};
use granule_core::provider::Node;

use super::cpu::{CpuLocal, Entry, KernelCpu, PerCpu};

/// Caches in the CPUs' own data.
///
/// L3: the places in the locals of `K` are used by one front end, for one
/// environment.
pub struct InLocals<K, E> {
    types: PhantomData<fn() -> (K, E)>,
}

impl<K, E> core::fmt::Debug for InLocals<K, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("InLocals")
    }
}

impl<K: KernelCpu, E: Environment> InLocals<K, E> {
    /// Every CPU without a cache: they are made at the first miss.
    ///
    /// # Safety
    ///
    /// Caller: makes one of these for `K`, in all the kernel, and keeps it in
    /// one heap (L3).
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self { types: PhantomData }
    }

    /// The place of the caller's CPU, entered as long as the guard exists.
    #[inline(always)]
    fn enter() -> Option<(&'static Place, Entry<K::Pin>)> {
        let (local, entry) = PerCpu::<K>::enter()?;
        Some((&local.place, entry))
    }

    fn local_with(slot: &Slot<E>) -> Option<&'static CpuLocal> {
        let mut locals = (0..K::CPUS).map_while(K::local_of);
        locals.find(|local| {
            // SAFETY: L3.
            let own = unsafe { local.place.slot::<E>() };
            own.is_some_and(|own| core::ptr::eq(own, slot))
        })
    }
}

// SAFETY: as for `Guarded`, whose guard this is; the places are of this
// environment and this front end's alone (L3).
unsafe impl<K: KernelCpu, E: Environment> FrontEnd<E> for InLocals<K, E> {
    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        match Self::enter() {
            // SAFETY: the guard is held.
            Some((place, _entry)) => unsafe { place.tops().pop(class) },
            None => core::ptr::null_mut(),
        }
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match Self::enter() {
            // SAFETY: the guard is held; the rest by the contract.
            Some((place, _entry)) => unsafe { place.tops().push(class, object) },
            None => false,
        }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        match Self::enter() {
            // SAFETY: the guard is held; the rest by the contract.
            Some((place, _entry)) => unsafe { place.tops().push_even(class, object) },
            None => false,
        }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let Some((place, _entry)) = Self::enter() else { return false };
        // SAFETY: the guard is held; the rest by the contract.
        unsafe { place.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, E> {
        let Some((place, _entry)) = Self::enter() else { return Current::Stopped };
        // SAFETY: L3.
        unsafe { place.current() }
    }

    fn attach(&self, slot: &'static Slot<E>) -> bool {
        let Some((place, _entry)) = Self::enter() else { return false };
        // SAFETY: L3.
        unsafe { place.attach(slot) }
    }

    #[inline]
    fn node(&self) -> Node {
        K::node()
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<E>>, NoSuchCpu> {
        let local = K::local_of(cpu).ok_or(NoSuchCpu)?;
        // SAFETY: L3.
        Ok(unsafe { local.place.slot() })
    }

    fn stop(&self, slot: &Slot<E>) -> bool {
        let Some(local) = Self::local_with(slot) else { return false };
        // Under the guard of its own CPU the caller is alone on it already.
        let own = PerCpu::<K>::enter().filter(|(own, _)| core::ptr::eq(*own, local));
        let stopped = local.place.stop(slot);
        let alone = own.is_some();
        drop(own);
        if stopped && !alone && !PerCpu::<K>::quiesce(local.number()) {
            local.place.restart(slot);
            return false;
        }
        stopped
    }

    fn restart(&self, slot: &Slot<E>) {
        if let Some(local) = Self::local_with(slot) {
            local.place.restart(slot);
        }
    }
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
