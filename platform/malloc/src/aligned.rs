//! Aligned allocation: five interfaces to one thing.

use core::alloc::Layout;
#[cfg(not(windows))]
use core::ffi::c_int;
use core::ffi::c_void;

use granule_rt::{outlined, process_heap};

use crate::errno::{block, fail};
use crate::standard::free_aligned;

/// Bytes of a page, for `valloc` and `pvalloc`.
#[cfg(not(windows))]
fn page() -> usize {
    // SAFETY: no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// A block of `size` bytes at a multiple of `align`, a power of two; null
/// when there is none.
fn allocate(align: usize, size: usize) -> *mut u8 {
    // At least what `malloc` promises for the size.
    let align = if size > 8 { align.max(16) } else { align.max(1) };
    match Layout::from_size_align(size, align) {
        Ok(layout) => outlined(process_heap()).alloc(layout),
        Err(_) => core::ptr::null_mut(),
    }
}

/// For the C++ operators: `allocate` that keeps `errno`.
#[cfg(not(windows))]
pub(crate) extern "C" fn new_aligned(size: usize, align: usize) -> *mut c_void {
    block(allocate(align, size))
}

/// C11: `align` must be a power of two, else null and `EINVAL`.
#[cfg_attr(windows, unsafe(export_name = "granule_aligned_alloc"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { block(allocate(align, size)) } else { fail(libc::EINVAL) }
}

/// As [`aligned_alloc`].
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    aligned_alloc(align, size)
}

/// POSIX: stores the block in `*out` and returns 0; or `EINVAL` (`align` is no
/// power of two, or not a multiple of a pointer's size) or `ENOMEM`, with
/// `*out` and `errno` as they were.
///
/// # Safety
///
/// Caller: `out` is writable.
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    let block = allocate(align, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: by the contract.
    unsafe { out.write(block.cast()) };
    0
}

/// A block at a page boundary.
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    aligned_alloc(page(), size)
}

/// A block of whole pages; size 0 gives one page.
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page();
    match size.max(1).checked_next_multiple_of(page) {
        Some(size) => aligned_alloc(page, size),
        None => fail(libc::ENOMEM),
    }
}

/// Frees a block of [`aligned_alloc`], given alignment and size (C23).
///
/// # Safety
///
/// Caller: null, or a live block that was asked for with these.
#[cfg_attr(windows, unsafe(export_name = "granule_free_aligned_sized"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn free_aligned_sized(pointer: *mut c_void, align: usize, size: usize) {
    let align = if size > 8 { align.max(16) } else { align };
    // SAFETY: by the contract.
    unsafe { free_aligned(pointer, size, align) };
}
