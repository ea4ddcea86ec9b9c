//! `errno`: set by failure. Success and `free` keep it, because the page
//! provider restores it after each system call that fails.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

/// Null, with `errno` set.
#[cold]
pub(crate) fn fail(error: c_int) -> *mut c_void {
    // SAFETY: the calling thread's errno is writable.
    unsafe { libc::__errno_location().write(error) };
    null_mut()
}

/// The block; null sets `ENOMEM`.
#[inline]
pub(crate) fn block(block: *mut u8) -> *mut c_void {
    if block.is_null() { fail(libc::ENOMEM) } else { block.cast() }
}
