//! The scoped override: Rust's global allocator, led to another heap while a
//! closure runs.
//!
//! ```text
//! alloc  the thread's scope? ─ none: process's heap ─ else that heap
//! free   a small block of the process's heap? ─ hit ─ done
//!         └ whose is it? ─ the scope's ─ the heaps', one by one ─ process's
//! ```
//!
//! A free looks at the pointer and not at the scope, so it may come at any time
//! and from any thread.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use super::{Heap, record};
use crate::imp::tls;
use crate::process_heap;

/// The process's heap as a Rust global allocator, as
/// [`Granule`](crate::Granule), that [`with_heap`] can lead elsewhere.
///
/// Cost against `Granule`: an allocation asks for the thread's scope, five
/// instructions; a free finds the block's class by its address instead of by its
/// size, four; a block of more than 32 KiB, while there are heaps, is
/// looked for in each of them, under a lock.
///
/// ```
/// use granule::heap::{OwnedHeap, Scoped, with_heap};
///
/// #[global_allocator]
/// static GLOBAL: Scoped = Scoped::new();
///
/// let heap = OwnedHeap::new()?.leak();
/// let words = with_heap(heap, || vec![1u64; 1000]);
/// assert!(heap.stats().live_bytes() >= 8000);
/// // Back to where it came from.
/// drop(words);
/// assert_eq!(heap.stats().live_bytes(), 0);
/// # Ok::<(), granule::heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Scoped;

impl Scoped {
    /// A handle on the process's heap and the caller's scope. All are the same.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// The heap of the calling thread's scope.
#[inline(always)]
fn scope() -> Option<&'static Heap> {
    // SAFETY: null, or a heap that is borrowed as long as the word names it.
    unsafe { tls::scope().cast::<Heap>().as_ref() }
}

/// Leads back to the scope before, also when the closure panics.
struct Back(*mut core::ffi::c_void);

impl Drop for Back {
    fn drop(&mut self) {
        tls::set_scope(self.0);
    }
}

/// Runs `work`; what this thread meanwhile allocates through [`Scoped`] is
/// `heap`'s. Scopes nest, and end when `work` panics, too.
///
/// The heap lives for ever, so its blocks may go anywhere and stay as long as
/// they like; each goes back to it when it is freed. Where memory is short, as
/// under a cap, what cannot fail ends the program, as ever: use `try_reserve`.
pub fn with_heap<R>(heap: &'static Heap, work: impl FnOnce() -> R) -> R {
    // SAFETY: the heap outlives all of its blocks.
    unsafe { with_heap_borrowed(heap, work) }
}

/// The same with a heap that ends.
///
/// # Safety
///
/// Caller: what was allocated in `heap` meanwhile is freed or used no more when
/// it ends: also what libraries keep to themselves, as thread-locals, the buffers
/// of standard output and the names of threads are.
pub unsafe fn with_heap_borrowed<R>(heap: &Heap, work: impl FnOnce() -> R) -> R {
    let _back = Back(tls::scope());
    tls::set_scope(core::ptr::from_ref(heap).cast_mut().cast());
    work()
}

/// The heap that has a block, unless it is the process's: for doors that free
/// without knowing the heap.
///
/// # Safety
///
/// Caller: `pointer` is a live block's, whose heap does not end in `'a`, or no
/// heap's.
#[inline]
pub unsafe fn heap_of<'a>(pointer: NonNull<u8>) -> Option<&'a Heap> {
    if !record::any() {
        return None;
    }
    // SAFETY: by the contract.
    unsafe { some_heap_of(pointer) }
}

/// The same where there are heaps.
///
/// # Safety
///
/// As for [`heap_of`].
#[cold]
#[inline(never)]
unsafe fn some_heap_of<'a>(pointer: NonNull<u8>) -> Option<&'a Heap> {
    let pointer = pointer.as_ptr();
    // No heap's memory is in a slab of the process's.
    if process_heap().is_in_slab(pointer) {
        return None;
    }
    if let Some(heap) = scope()
        && !record::any_embedded()
        && heap.contains(pointer)
    {
        return Some(heap);
    }
    // SAFETY: the heap is alive as long as the block in it is.
    record::find(pointer).map(|record| -> &'a Heap { unsafe { &record.as_ref().heap } })
}

#[cold]
#[inline(never)]
fn dealloc_missed(pointer: NonNull<u8>, layout: Layout) {
    let process = process_heap();
    // SAFETY: by the contract of `dealloc`, of whoever has the block.
    unsafe {
        match heap_of(pointer) {
            Some(heap) => heap.dealloc(pointer, layout),
            None => process.dealloc(pointer, layout),
        }
    }
}

// SAFETY: a block is its heap's, which keeps the contract, and goes back to it.
unsafe impl GlobalAlloc for Scoped {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match scope() {
            None => process_heap().alloc(layout),
            Some(heap) => heap.alloc(layout),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match scope() {
            None => process_heap().alloc_zeroed(layout),
            Some(heap) => heap.alloc_zeroed(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: a live block: of the process's heap; or in none of its regions;
        // or in a run of its that another heap has, of whose pages but the first,
        // where that heap's records are, the class is none.
        unsafe {
            if !process_heap().push_unsized(pointer) {
                dealloc_missed(NonNull::new_unchecked(pointer), layout);
            }
        }
    }

    /// Stays in the heap that has the block.
    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(block) = NonNull::new(pointer) else { return null_mut() };
        let process = process_heap();
        // SAFETY: by the contract, of whoever has the block.
        unsafe {
            match heap_of(block) {
                Some(heap) => heap.realloc(block, layout, new_size),
                None => process.realloc(block, layout, new_size),
            }
        }
    }
}
