//! Waiting, time, errno and the report of a fault.

use core::ptr::{null_mut, without_provenance_mut};

use granule_core::Environment;
use granule_core::base::fault::Fault;

use super::{segv, single, tls};
use crate::user::report::Report;

/// Spins before a waiter yields its CPU.
const SPINS: u32 = 2000;

/// Linux user space.
#[derive(Clone, Copy, Debug)]
pub struct HostEnv;

/// Runs a function of the C library's and keeps `errno`, which a failure would set:
/// `free` and a successful `malloc` must not, nor what runs before `main`. Also
/// what never fails: a filter of system calls refuses anything.
pub(crate) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: every thread has an errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is the calling thread's.
    let before = unsafe { errno.read() };
    let result = call();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

/// What the kernel told the process in its vector when it started; 0 for what it does
/// not tell.
pub(super) fn told(what: libc::c_ulong) -> libc::c_ulong {
    // SAFETY: no preconditions.
    quietly(|| unsafe { libc::getauxval(what) })
}

/// The calling thread's error number.
pub(super) fn errno() -> libc::c_int {
    // SAFETY: every thread has one.
    unsafe { *libc::__errno_location() }
}

/// The kernel's number of the calling thread, kept in a word of the thread's.
#[cold]
fn find_thread() -> u32 {
    // SAFETY: no preconditions.
    let thread = quietly(|| unsafe { libc::gettid() }).cast_unsigned();
    tls::set_thread(without_provenance_mut(thread as usize));
    thread
}

/// In the child of a fork: the thread has another number.
pub(super) fn forget_thread() {
    tls::set_thread(null_mut());
}

// SAFETY: signal handlers must not allocate (POSIX), so nothing enters on top
// of a holder, nor inside of a call of the only thread there is; a second one is
// made by that thread, and sees what it did; no function allocates; `fatal`
// aborts.
unsafe impl Environment for HostEnv {
    type Exclusion = ();

    #[inline(always)]
    fn shared() -> bool {
        !single::is_alone()
    }

    #[inline(always)]
    fn exclude() {}

    fn wait(spins: u32) {
        if spins < SPINS {
            core::hint::spin_loop();
        } else {
            // SAFETY: no preconditions. Refused, it spins on.
            quietly(|| unsafe { libc::sched_yield() });
        }
    }

    fn now_ms() -> u32 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is writable; the clock exists since Linux 2.6.32.
        quietly(|| unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) });
        // Wraps, as the trait allows.
        (now.tv_sec as u32).wrapping_mul(1000).wrapping_add(now.tv_nsec as u32 / 1_000_000)
    }

    fn random() -> u64 {
        // Sixteen bytes that the kernel made for this process, without a call.
        let bytes = told(libc::AT_RANDOM) as *const [u8; 8];
        // SAFETY: the kernel's, for ever; null where it has none.
        let bytes = unsafe { bytes.as_ref() };
        bytes.map_or(0x9e37_79b9_7f4a_7c15, |bytes| u64::from_ne_bytes(*bytes))
    }

    #[inline]
    fn thread() -> u32 {
        Self::known_thread().unwrap_or_else(find_thread)
    }

    #[inline(always)]
    fn known_thread() -> Option<u32> {
        let word = tls::thread();
        (!word.is_null()).then_some(word.addr() as u32)
    }

    fn guards_begin() {
        segv::install();
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
