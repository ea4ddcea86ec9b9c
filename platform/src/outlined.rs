//! What a heap does behind its hits, compiled once.
//!
//! A generic function is compiled in each crate that calls it, although the heap is
//! the same. The crate itself has need of most: forks and the ends of threads do. A
//! door in another crate that calls these instead is half as large, and so is what
//! of it is resident in every process. Hits stay the heap's own, inlined.

use core::alloc::Layout;
use core::ptr::NonNull;

use granule_core::base::class::Class;
use granule_core::base::origin::Caller;
use granule_core::base::violation::Violation;
use granule_core::heap::Checked;
use granule_core::observe::stats::Stats;

/// A heap, with the functions of [`Heap`](granule_core::Heap) that have been
/// compiled here. They have its names, errors and contracts.
#[derive(Clone, Copy, Debug)]
pub struct Outlined<'a, H>(&'a H);

/// The functions of a heap that have been compiled here.
#[inline(always)]
pub fn outlined<H>(heap: &H) -> Outlined<'_, H> {
    Outlined(heap)
}

macro_rules! compiled_here {
    ($heap:ty) => {
        // None is to be `#[inline]`: it would be compiled where it is called.
        impl Outlined<'_, $heap> {
            /// [`Heap::alloc`](granule_core::Heap::alloc).
            pub fn alloc(self, layout: Layout) -> *mut u8 {
                self.0.alloc(layout)
            }

            /// [`Heap::alloc_class`](granule_core::Heap::alloc_class).
            pub fn alloc_class(self, class: Class, size: usize, caller: Caller) -> *mut u8 {
                self.0.alloc_class(class, size, caller)
            }

            /// [`Heap::alloc_class_zeroed`](granule_core::Heap::alloc_class_zeroed).
            pub fn alloc_class_zeroed(self, class: Class, size: usize, caller: Caller) -> *mut u8 {
                self.0.alloc_class_zeroed(class, size, caller)
            }

            /// [`Heap::dealloc_missed`](granule_core::Heap::dealloc_missed).
            ///
            /// # Safety
            ///
            /// Caller: as there.
            pub unsafe fn dealloc_missed(
                self,
                pointer: NonNull<u8>,
                layout: Option<Layout>,
                caller: Caller,
            ) {
                // SAFETY: by the contract.
                unsafe { self.0.dealloc_missed(pointer, layout, caller) };
            }

            /// [`Heap::realloc_unsized`](granule_core::Heap::realloc_unsized).
            ///
            /// # Safety
            ///
            /// Caller: as there.
            pub unsafe fn realloc_unsized(
                self,
                pointer: NonNull<u8>,
                new_size: usize,
                caller: Caller,
            ) -> *mut u8 {
                // SAFETY: by the contract.
                unsafe { self.0.realloc_unsized(pointer, new_size, caller) }
            }

            /// [`Heap::usable_size`](granule_core::Heap::usable_size).
            pub fn usable_size(self, pointer: NonNull<u8>) -> Option<usize> {
                self.0.usable_size(pointer)
            }

            /// [`Heap::reclaim`](granule_core::Heap::reclaim).
            pub fn reclaim(self) -> usize {
                self.0.reclaim()
            }

            /// [`Heap::stats`](granule_core::Heap::stats).
            pub fn stats(self) -> Stats {
                self.0.stats()
            }

            /// [`Heap::check`](granule_core::Heap::check).
            ///
            /// # Errors
            ///
            /// As there.
            pub fn check(self) -> Result<Checked, Violation> {
                self.0.check()
            }
        }
    };
}

compiled_here!(crate::ProcessHeap);
#[cfg(target_os = "linux")]
compiled_here!(crate::heap::Heap);
