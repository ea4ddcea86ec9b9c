//! Waiting, time, randomness, the last error and the report of a fault.

use core::ptr::null_mut;

use granule_core::Environment;
use granule_core::base::fault::Fault;
use windows_sys::Win32::Foundation::{GetLastError, STATUS_THREAD_IS_TERMINATING, SetLastError};
use windows_sys::Win32::Security::Authentication::Identity::RtlGenRandom;
use windows_sys::Win32::Storage::FileSystem::WriteFile;
use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE};
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentProcessId, GetCurrentThreadId, Sleep, SwitchToThread,
    TerminateProcess,
};

use crate::user::report::Report;

/// Spins before a waiter yields its CPU.
const SPINS: u32 = 2000;
/// A waiter that yields sleeps every so often: yielding lets nobody of lower
/// priority run, nor anybody who waits for another CPU.
const YIELDS: u32 = 64;

/// Windows user space.
#[derive(Clone, Copy, Debug)]
pub struct HostEnv;

/// Runs a system call and keeps the thread's last error, which a failure would
/// set: `free` and a successful `malloc` must not.
pub(super) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: no preconditions.
    let before = unsafe { GetLastError() };
    let result = call();
    // SAFETY: no preconditions.
    unsafe { SetLastError(before) };
    result
}

// SAFETY: nothing enters on top of a holder: asynchronous procedure calls run
// where a thread waits alertably, which nothing here does. No function
// allocates from a heap of ours; `fatal` ends the process.
unsafe impl Environment for HostEnv {
    type Exclusion = ();

    #[inline(always)]
    fn exclude() {}

    fn wait(spins: u32) {
        if spins < SPINS {
            core::hint::spin_loop();
        } else if spins.is_multiple_of(YIELDS) {
            end_if_abandoned();
            // SAFETY: no preconditions.
            unsafe { Sleep(1) };
        } else {
            // SAFETY: no preconditions.
            unsafe { SwitchToThread() };
        }
    }

    fn now_ms() -> u32 {
        // Read from a page that the kernel shares, in steps of about 16 ms.
        // SAFETY: no preconditions. It wraps, as the trait allows.
        unsafe { GetTickCount64() as u32 }
    }

    fn random() -> u64 {
        let mut random = 0u64;
        // SAFETY: so many bytes are writable.
        let had =
            quietly(|| unsafe { RtlGenRandom((&raw mut random).cast(), size_of::<u64>() as u32) });
        if had {
            return random;
        }
        // No source: what little differs from process to process.
        // SAFETY: no preconditions.
        let seed = unsafe { GetTickCount64() ^ (u64::from(GetCurrentProcessId()) << 32) };
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    fn thread() -> u32 {
        // SAFETY: no preconditions.
        unsafe { GetCurrentThreadId() }
    }

    #[cold]
    fn fatal(fault: Fault) -> ! {
        let report = Report::of(fault);
        say(report.text());
        fail_fast()
    }
}

#[link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    /// Whether the process ends and the caller is the last of its threads.
    fn RtlDllShutdownInProgress() -> u8;
}

/// Ends the process if whoever has the lock that the caller waits for is gone.
///
/// `ExitProcess` ends all other threads first, wherever they are, and then tells
/// libraries, whose destructors may free. A lock that is found taken then is never
/// given back. The system's own locks end the process, too.
fn end_if_abandoned() {
    // SAFETY: no preconditions; nothing of the process is needed any more.
    unsafe {
        if RtlDllShutdownInProgress() != 0 {
            TerminateProcess(GetCurrentProcess(), STATUS_THREAD_IS_TERMINATING.cast_unsigned());
        }
    }
}

/// Writes to standard error, as far as there is one.
fn say(text: &[u8]) {
    let mut written = 0;
    // SAFETY: the text is as long as said, a few hundred bytes; without a
    // console or a file the handle is refused.
    unsafe {
        let stream = GetStdHandle(STD_ERROR_HANDLE);
        WriteFile(stream, text.as_ptr(), text.len() as u32, &raw mut written, null_mut());
    }
}

/// Ends the process at once, as an error that no handler sees:
/// `STATUS_STACK_BUFFER_OVERRUN`, which is what all such ends are called.
fn fail_fast() -> ! {
    /// `FAST_FAIL_FATAL_APP_EXIT`.
    const REASON: u32 = 7;
    // SAFETY: the system's own interrupt for this; it does not return.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("int 0x29", in("ecx") REASON, options(noreturn, nostack))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("brk 0xf003", in("w0") REASON, options(noreturn, nostack))
    }
}
