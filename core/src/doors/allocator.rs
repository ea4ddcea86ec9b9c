//! `allocator_api2::alloc::Allocator`: collections that say where they live.
//!
//! The trait is the standard library's unstable one on stable Rust; with the
//! feature `nightly` it is that one itself.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

/// Makes an [`Allocator`] of whatever is a [`GlobalAlloc`], for types that
/// have both doors.
///
/// Blocks of no bytes are no blocks: nothing is allocated for them.
///
/// # Safety
///
/// Implementor's, who forwards a type's methods to these: blocks of the
/// allocator stay live when a value of that type is moved or cloned, and as
/// long as one of its clones lives.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a, G>(pub &'a G);

fn nothing(layout: Layout) -> NonNull<[u8]> {
    let place = core::ptr::without_provenance_mut(layout.align());
    // SAFETY: alignments are not 0.
    NonNull::slice_from_raw_parts(unsafe { NonNull::new_unchecked(place) }, 0)
}

fn block(start: *mut u8, bytes: usize) -> Result<NonNull<[u8]>, AllocError> {
    let start = NonNull::new(start).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(start, bytes))
}

// SAFETY: the global allocator's blocks are distinct, live until they are
// freed, and as large as asked; a copy of the reference is the same allocator.
unsafe impl<G: GlobalAlloc> Allocator for Door<'_, G> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match layout.size() {
            0 => Ok(nothing(layout)),
            // SAFETY: the size is not 0.
            bytes => block(unsafe { self.0.alloc(layout) }, bytes),
        }
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match layout.size() {
            0 => Ok(nothing(layout)),
            // SAFETY: the size is not 0.
            bytes => block(unsafe { self.0.alloc_zeroed(layout) }, bytes),
        }
    }

    #[inline]
    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: by the contract, and not one of no bytes.
            unsafe { self.0.dealloc(start.as_ptr(), layout) };
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: by the contract.
        unsafe { self.resize(start, old, new) }
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: by the contract.
        let grown = unsafe { self.resize(start, old, new)? };
        let added = new.size() - old.size();
        // SAFETY: the new block has these bytes behind the old ones.
        unsafe { grown.cast::<u8>().add(old.size()).write_bytes(0, added) };
        Ok(grown)
    }

    #[inline]
    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: by the contract.
        unsafe { self.resize(start, old, new) }
    }
}

impl<G: GlobalAlloc> Door<'_, G> {
    /// # Safety
    ///
    /// Caller: as for [`Allocator::grow`] or [`Allocator::shrink`].
    unsafe fn resize(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() > 0 && new.size() > 0 && old.align() == new.align() {
            // SAFETY: by the contract; no size is 0, and the new one fits the
            // alignment, as it is a layout's.
            let moved = unsafe { self.0.realloc(start.as_ptr(), old, new.size()) };
            return block(moved, new.size());
        }
        let moved = self.allocate(new)?;
        let bytes = old.size().min(new.size());
        // SAFETY: two blocks, each with so many bytes; the old one is given up.
        unsafe {
            start.copy_to_nonoverlapping(moved.cast(), bytes);
            self.deallocate(start, old);
        }
        Ok(moved)
    }
}

/// Gives a type the methods of [`Allocator`] through a [`Door`].
///
/// # Safety
///
/// The expression must lead to the same heap for all clones of the value, as
/// [`Door`] says.
#[macro_export]
#[doc(hidden)]
macro_rules! allocator_through {
    ([$($of:tt)*] $type:ty, $this:ident => $heap:expr) => {
        // SAFETY: forwards to a door; the macro's contract.
        unsafe impl<$($of)*> $crate::doors::Allocator for $type {
            #[inline]
            fn allocate(
                &self,
                layout: ::core::alloc::Layout,
            ) -> Result<::core::ptr::NonNull<[u8]>, $crate::doors::AllocError> {
                let $this = self;
                $crate::doors::Door($heap).allocate(layout)
            }

            #[inline]
            fn allocate_zeroed(
                &self,
                layout: ::core::alloc::Layout,
            ) -> Result<::core::ptr::NonNull<[u8]>, $crate::doors::AllocError> {
                let $this = self;
                $crate::doors::Door($heap).allocate_zeroed(layout)
            }

            #[inline]
            unsafe fn deallocate(
                &self,
                start: ::core::ptr::NonNull<u8>,
                layout: ::core::alloc::Layout,
            ) {
                let $this = self;
                // SAFETY: by the contract.
                unsafe { $crate::doors::Door($heap).deallocate(start, layout) };
            }

            #[inline]
            unsafe fn grow(
                &self,
                start: ::core::ptr::NonNull<u8>,
                old: ::core::alloc::Layout,
                new: ::core::alloc::Layout,
            ) -> Result<::core::ptr::NonNull<[u8]>, $crate::doors::AllocError> {
                let $this = self;
                // SAFETY: by the contract.
                unsafe { $crate::doors::Door($heap).grow(start, old, new) }
            }

            #[inline]
            unsafe fn grow_zeroed(
                &self,
                start: ::core::ptr::NonNull<u8>,
                old: ::core::alloc::Layout,
                new: ::core::alloc::Layout,
            ) -> Result<::core::ptr::NonNull<[u8]>, $crate::doors::AllocError> {
                let $this = self;
                // SAFETY: by the contract.
                unsafe { $crate::doors::Door($heap).grow_zeroed(start, old, new) }
            }

            #[inline]
            unsafe fn shrink(
                &self,
                start: ::core::ptr::NonNull<u8>,
                old: ::core::alloc::Layout,
                new: ::core::alloc::Layout,
            ) -> Result<::core::ptr::NonNull<[u8]>, $crate::doors::AllocError> {
                let $this = self;
                // SAFETY: by the contract.
                unsafe { $crate::doors::Door($heap).shrink(start, old, new) }
            }
        }
    };
}
