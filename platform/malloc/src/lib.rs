//! libgranule: granule as a C library, to preload or to link.
//!
//! - [`standard`]: malloc and its family;
//! - [`aligned`]: the aligned ones;
//! - [`cxx`]: the C++ operators new and delete;
//! - [`info`]: what programs ask about the heap;
//! - [`errno`]: the errors' door.
//!
//! The functions are defined by C23, POSIX 2024 and glibc's manual; where
//! they differ, glibc decides: its programs are preloaded.
#![no_std]

pub mod aligned;
pub mod cxx;
mod errno;
pub mod info;
pub mod standard;

/// A panic would be a bug of granule's; it must not allocate nor unwind.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    const REPORT: &[u8] = b"granule: internal error\n";
    // SAFETY: the buffer is as long as said; both are async-signal-safe.
    unsafe {
        libc::write(libc::STDERR_FILENO, REPORT.as_ptr().cast(), REPORT.len());
        libc::abort()
    }
}
