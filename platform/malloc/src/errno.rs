//! `errno`: set by failure. Success and `free` keep it, because the page
//! provider restores it after each system call that fails.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

/// Null, with `errno` set.
#[cold]
pub(crate) fn fail(error: c_int) -> *mut c_void {
    // SAFETY: the calling thread's errno is writable.
    unsafe { location().write(error) };
    null_mut()
}

#[cfg(not(windows))]
use libc::__errno_location as location;

// Of the C library that this one is linked with. Programs of another one (there
// are several) see null, and an errno of their own that is as it was.
#[cfg(windows)]
unsafe extern "C" {
    #[link_name = "_errno"]
    fn location() -> *mut c_int;
}

/// The block; null sets `ENOMEM`.
#[inline]
pub(crate) fn block(block: *mut u8) -> *mut c_void {
    if block.is_null() { fail(libc::ENOMEM) } else { block.cast() }
}
