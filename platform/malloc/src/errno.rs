//! `errno`: kept by success and by `free`, set by failure.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

fn location() -> *mut c_int {
    // SAFETY: no preconditions; every thread has an errno.
    unsafe { libc::__errno_location() }
}

/// Null, with `errno` set.
#[cold]
pub(crate) fn fail(error: c_int) -> *mut c_void {
    // SAFETY: the calling thread's errno is writable.
    unsafe { location().write(error) };
    null_mut()
}

/// Runs `work`, which may make system calls that fail, and keeps `errno`.
pub(crate) fn kept<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the calling thread's errno is readable and writable.
    let before = unsafe { location().read() };
    let result = work();
    // SAFETY: as above.
    unsafe { location().write(before) };
    result
}

/// The block of `work`; null sets `ENOMEM`, success keeps `errno`.
pub(crate) fn block(work: impl FnOnce() -> *mut u8) -> *mut c_void {
    let block = kept(work);
    if block.is_null() { fail(libc::ENOMEM) } else { block.cast() }
}
