//! Waiting, time, randomness, errno and the report of a fault.

use granule_core::Environment;
use granule_core::base::fault::Fault;

use crate::user::report::Report;

/// Spins before a waiter yields its CPU.
const SPINS: u32 = 2000;

/// macOS user space.
#[derive(Clone, Copy, Debug)]
pub struct HostEnv;

/// Runs a system call and keeps `errno`, which a failure would set: `free`
/// and a successful `malloc` must not.
pub(crate) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: every thread has an errno.
    let errno = unsafe { libc::__error() };
    // SAFETY: it is the calling thread's.
    let before = unsafe { errno.read() };
    let result = call();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

// SAFETY: signal handlers must not allocate (POSIX), so nothing enters on top
// of a holder; no function allocates; `fatal` aborts.
unsafe impl Environment for HostEnv {
    type Exclusion = ();

    #[inline(always)]
    fn exclude() {}

    fn wait(spins: u32) {
        if spins < SPINS {
            core::hint::spin_loop();
        } else {
            // SAFETY: no preconditions.
            quietly(|| unsafe { libc::sched_yield() });
        }
    }

    fn now_ms() -> u32 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is writable; the clock exists since macOS 10.12.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        // Wraps, as the trait allows.
        (now.tv_sec as u32).wrapping_mul(1000).wrapping_add(now.tv_nsec as u32 / 1_000_000)
    }

    fn random() -> u64 {
        let mut random = 0u64;
        // SAFETY: so many bytes are writable. It never fails.
        unsafe { libc::arc4random_buf((&raw mut random).cast(), size_of::<u64>()) };
        random
    }

    #[cold]
    fn fatal(fault: Fault) -> ! {
        let report = Report::of(fault);
        let text = report.text();
        // SAFETY: the text is as long as said; both calls are
        // async-signal-safe.
        unsafe {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
            libc::abort()
        }
    }
}
