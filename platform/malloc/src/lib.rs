//! libgranule: granule as a C library, to preload or to link.
//!
//! - [`standard`]: malloc and its family;
//! - [`aligned`]: the aligned ones;
//! - [`cxx`]: the C++ operators new and delete;
//! - [`info`]: what programs ask about the heap;
//! - [`glibc`]: and what programs of glibc ask;
//! - [`caller`]: who called, for reports;
//! - [`heaps`]: heaps besides the process's;
//! - [`pools`]: the same on memory of the program's;
//! - [`tickets`]: their handles;
//! - [`errno`]: the errors' door.
//!
//! The functions are defined by C23, POSIX 2024 and glibc's manual; where
//! they differ, glibc decides: its programs are preloaded. One exception: `memalign`
//! refuses an alignment that is no power of two, 0 among them, with `EINVAL`, as
//! `aligned_alloc` does; glibc's takes the next power of two instead.
//!
//! On Windows, where symbols of other libraries are not replaced, the functions
//! have names of their own, `granule_malloc` and so on, see `granule.h`; C++
//! operators and what glibc alone has are left out.
#![no_std]

pub mod aligned;
mod caller;
#[cfg(not(windows))]
pub mod cxx;
mod errno;
#[cfg(not(windows))]
pub mod glibc;
#[cfg(target_os = "linux")]
pub mod heaps;
pub mod info;
#[cfg(target_os = "linux")]
pub mod pools;
pub mod standard;
#[cfg(target_os = "linux")]
mod tickets;

/// A panic would be a bug of granule's; it must not allocate nor unwind.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    end(b"granule: internal error\n")
}

/// Ends the process with a report.
fn end(report: &[u8]) -> ! {
    /// Standard error.
    const STREAM: core::ffi::c_int = 2;
    // SAFETY: the buffer is as long as said, some dozen bytes; both are
    // async-signal-safe.
    unsafe {
        libc::write(STREAM, report.as_ptr().cast(), report.len() as _);
        libc::abort()
    }
}
