//! `core::alloc::GlobalAlloc`.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use crate::base::config::Config;
use crate::heap::Heap;

// SAFETY: blocks are distinct, aligned and as large as asked; nothing
// unwinds.
unsafe impl<C: Config> GlobalAlloc for Heap<C> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::alloc(self, layout)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::alloc_zeroed(self, layout)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe { Self::dealloc(self, NonNull::new_unchecked(pointer), layout) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe { Self::realloc(self, NonNull::new_unchecked(pointer), layout, new_size) }
    }
}
