//! Allocation and deallocation where nothing may wait: interrupts of any
//! kind, tracing hooks, the inside of a kernel's own locks.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::Heap;
use super::free::{SMALLEST_ALIGN, is_of_a_class};
use crate::base::class::{Class, TABLED};
use crate::base::config::Config;
use crate::base::fault::FaultKind;
use crate::cache::FrontEnd;

impl<C: Config> Heap<C> {
    /// Allocates `layout` if that can be done without waiting for anybody: in
    /// any context, also a non-maskable interrupt on top of this heap's own
    /// code.
    ///
    /// Takes an object from the CPU's cache, else from the depot or a present
    /// slab, each if it is open. Null when all of that fails, for large blocks
    /// as soon as none is cached: never asks the provider. A caller
    /// that must not fail keeps a [`Reserve`](super::Reserve).
    #[inline]
    pub fn try_alloc_nolock(&self, layout: Layout) -> *mut u8 {
        if Self::checks_calls() {
            return self.alloc_nolock_checked(layout);
        }
        self.alloc_nolock_raw(layout)
    }

    #[inline]
    pub(super) fn alloc_nolock_raw(&self, layout: Layout) -> *mut u8 {
        let class = Self::class(layout);
        let hit = self.lower.front.pop(class);
        if !hit.is_null() {
            return hit;
        }
        self.alloc_nolock_slow(class)
    }

    /// Frees a block without waiting for anybody, in any context. A block for
    /// which the CPU's cache has no room is put aside, and freed by the next
    /// ordinary call that misses the cache; until then it counts as live. Its
    /// first word is used for that.
    ///
    /// # Safety
    ///
    /// Caller: as for [`dealloc`](Self::dealloc).
    #[inline]
    pub unsafe fn dealloc_nolock(&self, pointer: NonNull<u8>, layout: Layout) {
        if Self::checks_calls() {
            return self.free_nolock_checked(pointer, layout);
        }
        if C::SAMPLES && layout.size() >= TABLED && !is_of_a_class(pointer) {
            // A sampled one: whoever frees what was put aside, looks.
            return self.put_aside(pointer);
        }
        let class = Self::class(layout);
        // SAFETY: by the contract; or the class misses.
        if !unsafe { self.lower.front.push(class, pointer.as_ptr()) } {
            self.free_nolock_slow(class, pointer);
        }
    }

    #[cold]
    fn alloc_nolock_slow(&self, class: Class) -> *mut u8 {
        if !class.is_small() {
            return null_mut();
        }
        let object = self.cache.refill_nolock(&self.lower, class);
        object.map_or(null_mut(), NonNull::as_ptr)
    }

    #[cold]
    fn free_nolock_slow(&self, class: Class, pointer: NonNull<u8>) {
        let aligned = pointer.addr().get().is_multiple_of(SMALLEST_ALIGN);
        let kept =
            aligned && class.is_small() && self.cache.overflow_nolock(&self.lower, class, pointer);
        if !kept {
            self.put_aside(pointer);
        }
    }

    #[cold]
    fn put_aside(&self, pointer: NonNull<u8>) {
        if !pointer.addr().get().is_multiple_of(SMALLEST_ALIGN) {
            self.fault(FaultKind::InvalidPointer, pointer);
        }
        // SAFETY: the caller gave the block up; its alignment was tested.
        unsafe { self.cache.deferred.push(pointer) };
    }

    /// Frees what [`dealloc_nolock`](Self::dealloc_nolock) put aside. Every call
    /// that misses the cache does so; for who wants it done earlier, an idle
    /// loop say.
    #[inline]
    pub fn free_deferred(&self) {
        if !self.cache.deferred.is_empty() {
            self.free_deferred_now();
        }
    }

    #[cold]
    fn free_deferred_now(&self) {
        for block in self.cache.deferred.take() {
            self.free_raw(block);
        }
    }
}

#[cfg(test)]
#[path = "nolock_tests.rs"]
mod tests;
