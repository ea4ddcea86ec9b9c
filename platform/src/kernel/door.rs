//! A kernel's global allocator.
//!
//! ```text
//! alloc   cache ┬ hit: done
//!               └ miss ─ open? ─ granule
//!                          └ not yet: the early heap
//! free    in the early array? ─ the early heap
//!                          └ no: granule
//! ```
//!
//! Until it is open no CPU has a cache, so every allocation misses, and the
//! hit path need not ask.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use granule_core::base::class::Class;
use granule_core::{Config, Heap};

use super::early::EarlyHeap;

/// Why a heap could not be opened. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// It is open already.
    AlreadyOpen,
    /// The provider has not the memory for a first block: it is not set up
    /// yet, or has too little.
    TooLittleMemory,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::AlreadyOpen => "the heap is open already",
            Self::TooLittleMemory => "the page provider has too little memory to open the heap",
        })
    }
}

impl core::error::Error for OpenError {}

/// A kernel's heap, to be its `#[global_allocator]`: an early heap of `EARLY`
/// bytes until [`open`](Self::open), granule from then on. Blocks of the early
/// heap may be freed and reallocated at any time.
#[derive(Debug)]
// In this order: hits address the heap's first fields, the array lies far off.
#[repr(C)]
pub struct KernelHeap<C: Config, const EARLY: usize> {
    heap: Heap<C>,
    early: EarlyHeap<C::Env, EARLY>,
    open: AtomicBool,
}

impl<C: Config, const EARLY: usize> KernelHeap<C, EARLY> {
    /// Closed: serves from the early heap.
    #[must_use]
    pub const fn new(pages: C::Pages, front: C::Front) -> Self {
        let heap = Heap::new(pages, front);
        Self { heap, early: EarlyHeap::new(), open: AtomicBool::new(false) }
    }

    /// Lets granule serve from now on. To be called once the page provider is
    /// set up, on any CPU.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&self) -> Result<(), OpenError> {
        if self.is_open() {
            return Err(OpenError::AlreadyOpen);
        }
        let probe = Layout::new::<[u64; 8]>();
        let block = NonNull::new(self.heap.alloc(probe)).ok_or(OpenError::TooLittleMemory)?;
        // SAFETY: just allocated.
        unsafe { self.heap.dealloc(block, probe) };
        // Not a swap, which ARMv6-M and RISC-V without `A` do not have.
        self.early.alone(|| {
            if self.is_open() {
                return Err(OpenError::AlreadyOpen);
            }
            // Relaxed: the heap itself may be used at any time.
            self.open.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Whether granule serves.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether a block is the early heap's: whether it lies in this very
    /// static, in the rest of which no block is.
    #[inline(always)]
    fn is_early(&self, block: *const u8) -> bool {
        block.addr().wrapping_sub(core::ptr::from_ref(self).addr()) < size_of::<Self>()
    }

    /// Granule's heap, for everything beyond [`GlobalAlloc`].
    #[must_use]
    pub fn heap(&self) -> &Heap<C> {
        &self.heap
    }

    /// The early heap.
    #[must_use]
    pub fn early(&self) -> &EarlyHeap<C::Env, EARLY> {
        &self.early
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout) -> *mut u8 {
        if self.is_open() { self.heap.alloc(layout) } else { self.early.alloc(layout) }
    }

    /// A block of the early heap that changes its size moves, to granule if
    /// that is open.
    #[cold]
    unsafe fn realloc_early(&self, old: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return core::ptr::null_mut();
        };
        let block = self.alloc_slow(new);
        if !block.is_null() {
            let bytes = layout.size().min(new_size);
            // SAFETY: both blocks are live, different, and large enough; the
            // old one is the caller's to give up.
            unsafe {
                old.as_ptr().copy_to_nonoverlapping(block, bytes);
                self.early.dealloc(old, layout);
            }
        }
        block
    }
}

// SAFETY: forwards to two heaps that keep the contract, each block to the one
// it came from.
unsafe impl<C: Config, const EARLY: usize> GlobalAlloc for KernelHeap<C, EARLY> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let hit = self.heap.pop_cached(Class::of(layout.size(), layout.align()));
        if hit.is_null() { self.alloc_slow(layout) } else { hit }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.is_open() {
            return self.heap.alloc_zeroed(layout);
        }
        let block = self.early.alloc(layout);
        if !block.is_null() {
            // SAFETY: just allocated, of that size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe {
            let block = NonNull::new_unchecked(pointer);
            if self.is_early(pointer) {
                self.early.dealloc(block, layout);
            } else {
                self.heap.dealloc(block, layout);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe {
            let block = NonNull::new_unchecked(pointer);
            if self.is_early(pointer) {
                self.realloc_early(block, layout, new_size)
            } else {
                self.heap.realloc(block, layout, new_size)
            }
        }
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
