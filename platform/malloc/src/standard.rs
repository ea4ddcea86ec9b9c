//! malloc and its family.
//!
//! Each hot function is the heap's fast path and one cold call.

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::NonNull;

use granule_rt::base::class::{Class, TABLED};
use granule_rt::base::origin::Caller;
use granule_rt::{outlined, process_heap};

use crate::caller::with_caller;
use crate::errno::{block, fail};
use crate::info::malloc_usable_size;

/// Allocates `size` bytes, aligned to 16 (8 for sizes up to 8). Size 0 gives
/// a block of its own.
#[cfg_attr(windows, unsafe(export_name = "granule_malloc"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    let heap = process_heap();
    // Two functions, so that the common one is straight code.
    if !heap.is_open_for(size) {
        return malloc_medium(size);
    }
    // SAFETY: as just tested.
    let hit = unsafe { heap.pop_first(Class::for_malloc_tabled(size)) };
    if hit.is_null() { malloc_slow(size) } else { hit.cast() }
}

#[inline(never)]
extern "C" fn malloc_medium(size: usize) -> *mut c_void {
    let heap = process_heap();
    if !heap.is_open() {
        // There are no hits yet, or never where every call is checked.
        return if size < TABLED { malloc_closed(size) } else { malloc_medium_closed(size) };
    }
    // A small size has only come here if the heap was opened just now: it may get a
    // larger block.
    let Some(class) = Class::for_malloc_medium(size) else { return malloc_run(size) };
    // SAFETY: as just tested.
    let hit = unsafe { heap.pop_first(class) };
    if hit.is_null() { malloc_slow(size) } else { hit.cast() }
}

/// Apart, so that the code of objects is straight.
#[inline(never)]
extern "C" fn malloc_run(size: usize) -> *mut c_void {
    let hit = process_heap().pop_cached(Class::for_malloc(size));
    if hit.is_null() { malloc_slow(size) } else { hit.cast() }
}

with_caller! {
    /// Reached by jumps alone, so that the caller is `malloc`'s.
    fn malloc_slow(size: usize) -> *mut c_void => malloc_missed;
}

#[cold]
#[inline(never)]
extern "C" fn malloc_missed(size: usize, caller: Caller) -> *mut c_void {
    block(outlined(process_heap()).alloc_class(Class::for_malloc(size), size, caller))
}

with_caller! {
    /// As [`malloc_slow`].
    fn malloc_closed(size: usize) -> *mut c_void => malloc_checked;
}

extern "C" fn malloc_checked(size: usize, caller: Caller) -> *mut c_void {
    // SAFETY: `malloc_medium` has tested the size.
    let hit = unsafe { process_heap().pop_checked(size, caller) };
    if hit.is_null() { malloc_missed(size, caller) } else { hit.cast() }
}

with_caller! {
    /// As [`malloc_slow`].
    fn malloc_medium_closed(size: usize) -> *mut c_void => malloc_medium_checked;
}

extern "C" fn malloc_medium_checked(size: usize, caller: Caller) -> *mut c_void {
    let hit = process_heap().pop_checked_medium(size, caller);
    if hit.is_null() { malloc_missed(size, caller) } else { hit.cast() }
}

/// Frees a block. Null is allowed; `errno` is kept.
///
/// # Safety
///
/// Caller: null, or a live block of this library's.
#[cfg_attr(windows, unsafe(export_name = "granule_free"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn free(pointer: *mut c_void) {
    // SAFETY: by the contract.
    if !unsafe { process_heap().push_unsized(pointer.cast()) } {
        free_slow(pointer);
    }
}

with_caller! {
    /// As [`malloc_slow`].
    fn free_slow(pointer: *mut c_void) -> () => free_missed;
}

#[cold]
#[inline(never)]
extern "C" fn free_missed(pointer: *mut c_void, caller: Caller) {
    // SAFETY: by the contract of `free`.
    if !unsafe { process_heap().push_checked(pointer.cast(), caller) } {
        free_unusual(pointer, caller);
    }
}

#[cold]
#[inline(never)]
extern "C" fn free_unusual(pointer: *mut c_void, caller: Caller) {
    free_with(pointer, None, caller);
}

/// Frees a block of whatever heap has it.
#[inline]
fn free_with(pointer: *mut c_void, layout: Option<Layout>, caller: Caller) {
    let Some(pointer) = NonNull::new(pointer.cast()) else { return };
    // SAFETY: by the contract of the function that was called.
    unsafe {
        #[cfg(target_os = "linux")]
        if let Some(heap) = granule_rt::heap::heap_of(pointer) {
            return outlined(heap).dealloc_missed(pointer, layout, caller);
        }
        outlined(process_heap()).dealloc_missed(pointer, layout, caller);
    }
}

/// Frees a block of `malloc`, `calloc` or `realloc`, given its size (C23), which
/// checked tiers compare; as for sized `delete`, the class is the block's. Not its
/// alignment: `realloc` keeps that of a block of `aligned_alloc`.
///
/// # Safety
///
/// Caller: null, or a live block that was asked for with `size` bytes.
#[cfg_attr(windows, unsafe(export_name = "granule_free_sized"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn free_sized(pointer: *mut c_void, size: usize) {
    // SAFETY: by the contract.
    if unsafe { process_heap().push_unsized(pointer.cast()) } {
        return;
    }
    free_of_size(pointer, size);
}

#[cold]
#[inline(never)]
extern "C" fn free_of_size(pointer: *mut c_void, size: usize) {
    // What checked tiers say is the size that was asked for.
    // SAFETY: by the contract of `free_sized`.
    let right = unsafe { malloc_usable_size(pointer) } == size;
    let layout = if right { None } else { Layout::from_size_align(size, 1).ok() };
    free_with(pointer, layout, Caller::UNKNOWN);
}

/// Frees a block that was asked for with a size and an alignment.
///
/// # Safety
///
/// Caller: as for [`free`].
pub(crate) unsafe fn free_aligned(pointer: *mut c_void, size: usize, align: usize) {
    // SAFETY: by the contract.
    if unsafe { process_heap().push_unsized(pointer.cast()) } {
        return;
    }
    // No block has a layout that there cannot be.
    free_with(pointer, Layout::from_size_align(size, align).ok(), Caller::UNKNOWN);
}

/// An old name of `free`.
///
/// # Safety
///
/// Caller: as for [`free`].
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(pointer: *mut c_void) {
    // SAFETY: by the contract.
    unsafe { free(pointer) };
}

/// Allocates `count * size` zero bytes.
#[cfg_attr(windows, unsafe(export_name = "granule_calloc"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(total) = count.checked_mul(size) else { return fail(libc::ENOMEM) };
    let hit = process_heap().pop_cached(Class::for_malloc(total));
    if hit.is_null() {
        return calloc_slow(total);
    }
    // SAFETY: the block holds `total` bytes.
    unsafe { hit.write_bytes(0, total) };
    hit.cast()
}

with_caller! {
    /// As [`malloc_slow`].
    fn calloc_slow(size: usize) -> *mut c_void => calloc_missed;
}

#[cold]
#[inline(never)]
extern "C" fn calloc_missed(size: usize, caller: Caller) -> *mut c_void {
    let hit = match size < TABLED {
        // SAFETY: as just tested.
        true => unsafe { process_heap().pop_checked(size, caller) },
        false => process_heap().pop_checked_medium(size, caller),
    };
    if !hit.is_null() {
        // SAFETY: the block holds `size` bytes.
        unsafe { hit.write_bytes(0, size) };
        return hit.cast();
    }
    block(outlined(process_heap()).alloc_class_zeroed(Class::for_malloc(size), size, caller))
}

/// Makes a block `size` bytes large. Null `pointer` allocates; size 0 frees
/// and returns null, as glibc does.
///
/// # Safety
///
/// Caller: as for [`free`]; on success the old pointer is gone.
#[cfg_attr(windows, unsafe(export_name = "granule_realloc"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: by the contract.
    unsafe { realloc_here(pointer, size) }
}

with_caller! {
    /// As [`malloc_slow`]: `realloc` is a jump to it.
    fn realloc_here(pointer: *mut c_void, size: usize) -> *mut c_void => realloc_for;
}

/// # Safety
///
/// Caller: as for [`realloc`].
unsafe extern "C" fn realloc_for(pointer: *mut c_void, size: usize, caller: Caller) -> *mut c_void {
    let Some(old) = NonNull::new(pointer.cast()) else { return malloc(size) };
    if size == 0 {
        // SAFETY: by the contract.
        unsafe { free(pointer) };
        return core::ptr::null_mut();
    }
    // SAFETY: by the contract.
    #[cfg(target_os = "linux")]
    if let Some(heap) = unsafe { granule_rt::heap::heap_of(old) } {
        // SAFETY: by the contract; a block of that heap's.
        return block(unsafe { outlined(heap).realloc_unsized(old, size, caller) });
    }
    // SAFETY: by the contract.
    block(unsafe { outlined(process_heap()).realloc_unsized(old, size, caller) })
}

/// `realloc` to `count * size` bytes; on overflow null and `ENOMEM`, with the
/// block as it was.
///
/// # Safety
///
/// Caller: as for [`realloc`].
#[cfg_attr(windows, unsafe(export_name = "granule_reallocarray"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn reallocarray(
    pointer: *mut c_void,
    count: usize,
    size: usize,
) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: by the contract.
        Some(total) => unsafe { realloc(pointer, total) },
        None => fail(libc::ENOMEM),
    }
}
