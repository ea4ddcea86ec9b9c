//! The signal of a fault: a report where a guard page was met, and whoever had
//! the signal before elsewhere.
//!
//! Installed once, when the first block is about to lie between guard pages, and
//! not when sampling is off: over what the program has installed until then. A
//! program that installs its own later takes the signal from us, and finds out
//! less. It runs on the alternate stack where the thread has one, takes no lock
//! and only reads.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use granule_core::Environment;

use super::env::{HostEnv, quietly};

/// What was done about the signal before.
struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written before `KNOWN` is set, read after.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::uninit()));
static BEGUN: AtomicBool = AtomicBool::new(false);
static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const READ: u8 = 1;

/// Installs the handler, once.
pub(super) fn install() {
    // Relaxed: who comes second leaves it to the first.
    if BEGUN.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: both structures are whole and live; the handler is
    // async-signal-safe. Where it fails there is no report.
    quietly(|| unsafe {
        let before = BEFORE.0.get().cast::<libc::sigaction>();
        if libc::sigaction(libc::SIGSEGV, core::ptr::null(), before) != 0 {
            return;
        }
        // Release: pairs with the Acquire in `before`.
        KNOWN.store(READ, Ordering::Release);
        let mut ours = *before;
        ours.sa_sigaction = on_fault as *const () as usize;
        ours.sa_flags |= libc::SA_SIGINFO | libc::SA_ONSTACK;
        ours.sa_flags &= !libc::SA_RESETHAND;
        libc::sigaction(libc::SIGSEGV, &raw const ours, core::ptr::null_mut());
    });
}

fn before() -> Option<libc::sigaction> {
    // Acquire: pairs with the Release in `install`.
    let known = KNOWN.load(Ordering::Acquire) == READ;
    // SAFETY: written before.
    known.then(|| unsafe { (*BEFORE.0.get()).assume_init() })
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's; what a process sends has no address, and a code
    // that is not positive.
    let (by_access, address) = unsafe { ((*info).si_code > 0, (*info).si_addr().addr()) };
    if by_access && let Some(fault) = crate::process_heap().explain(address) {
        HostEnv::fatal(fault);
    }
    let before = before();
    match before.map_or(libc::SIG_DFL, |before| before.sa_sigaction) {
        libc::SIG_IGN if !by_access => {}
        libc::SIG_DFL | libc::SIG_IGN => end(signal, by_access),
        handler => {
            let informed = before.is_some_and(|one| one.sa_flags & libc::SA_SIGINFO != 0);
            // SAFETY: the program's handler, of the form that its flags tell.
            unsafe {
                if informed {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                        core::mem::transmute(handler);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = core::mem::transmute(handler);
                    handler(signal);
                }
            }
        }
    }
}

/// What the kernel does by default: the access faults again, or the signal is
/// sent again, and ends the process.
fn end(signal: c_int, by_access: bool) {
    // SAFETY: both are async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        if !by_access {
            libc::raise(signal);
        }
    }
}
