//! `fork` in a process with threads, as on Linux: the locks are taken before,
//! and the child takes back the caches of the threads it does not have. Heaps that end,
//! and their tags, are Linux's alone.

use core::sync::atomic::{AtomicBool, Ordering};

use super::settings;
use crate::user::keyed::HostThread;
use crate::user::{front, threads};

static PREPARED: AtomicBool = AtomicBool::new(false);

/// Registers the handlers as the program is loaded: the first to be registered
/// run last before a fork, and first after it.
#[used]
#[unsafe(link_section = "__DATA,__mod_init_func")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        // So that a tier of checks is in force before the program allocates.
        front::chosen();
        settings::program_starts();
        prepare_once();
    }
    at_start
};

/// Registers the handlers, once.
pub(crate) fn prepare_once() {
    // Relaxed: the flag carries nothing, the winner registers.
    if !PREPARED.load(Ordering::Relaxed) && !PREPARED.swap(true, Ordering::Relaxed) {
        // SAFETY: the handlers do not unwind. May allocate: no lock is held.
        // Failure leaves fork as unsafe as without us.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    }
}

unsafe extern "C" fn before() {
    crate::process_heap().before_fork();
}

unsafe extern "C" fn after_in_parent() {
    // SAFETY: `before` ran in this thread.
    unsafe { crate::process_heap().after_fork() };
}

unsafe extern "C" fn after_in_child() {
    // SAFETY: `before` ran in the thread that this one is the copy of, and it
    // is the only one.
    unsafe {
        crate::process_heap().after_fork();
        crate::process_heap().adopt_orphans();
    }
    front::settle();
    threads::keep_own_index_only::<HostThread>();
}
