//! Whether the process has one thread, as the C library knows.
//!
//! `__libc_single_threaded` (glibc 2.32) is 1 until the process's first thread
//! makes a second one, before that exists; glibc's own malloc leaves its locks
//! out by it. Threads that a program makes behind the library's back, by `clone`,
//! are not counted: they must not allocate, here as there. Where the library has
//! no such variable a process counts as one of several threads.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Where the library says so; null if it does not.
#[inline(always)]
fn flag() -> *mut u8 {
    let flag;
    // SAFETY: reads an address of the loader's.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            ".weak __libc_single_threaded",
            "mov {flag}, qword ptr [rip + __libc_single_threaded@GOTPCREL]",
            flag = out(reg) flag,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            ".weak __libc_single_threaded",
            "adrp {flag}, :got:__libc_single_threaded",
            "ldr {flag}, [{flag}, :got_lo12:__libc_single_threaded]",
            flag = out(reg) flag,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    flag
}

/// Whether the caller is the process's only thread. It stays so until the caller
/// makes another.
#[inline(always)]
pub(super) fn is_alone() -> bool {
    let flag = flag();
    // SAFETY: the library's, for ever. Relaxed: a thread sees what was written
    // before it was made, and the only one what it wrote itself.
    !flag.is_null() && unsafe { AtomicU8::from_ptr(flag) }.load(Relaxed) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_two_threads_nobody_is_alone() {
        // Tests run in threads of their own, unless there is to be only one.
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!is_alone()));
            assert!(!is_alone());
        });
    }
}
