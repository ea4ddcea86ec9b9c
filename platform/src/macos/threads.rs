//! Threads of macOS: two words and an end, by keys.
//!
//! Through the calls that POSIX has: a load at a fixed place would be faster,
//! and is not written without a machine to run it on.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use granule_core::cache::guarded::Cpu;

use super::env::HostEnv;
use super::fork;
use crate::user::front::HitThread;
use crate::user::threads::{self as shared, Thread};
use crate::user::unix::{self, Key};

/// A thread of macOS.
#[derive(Debug)]
pub(crate) struct HostThread(());

/// The word that leads to the thread's cache. Without a destructor, or it
/// would be null in the last rounds.
static SLOT: Key = Key::new(None);
/// The thread's number.
static INDEX: Key = Key::new(None);
/// Counts rounds at the thread's end.
static END: Key = Key::new(Some(thread_ends));

// SAFETY: values of keys are the thread's own, and stay to its end; the
// destructor of `END` calls `thread_ends`.
unsafe impl Thread for HostThread {
    type Env = HostEnv;

    #[inline]
    fn slot() -> *mut c_void {
        SLOT.value()
    }

    fn set_slot(word: *mut c_void) {
        SLOT.set(word);
    }

    #[inline]
    fn index() -> *mut c_void {
        INDEX.value()
    }

    fn set_index(word: *mut c_void) {
        INDEX.set(word);
    }

    fn call_at_exit() -> bool {
        fork::prepare_once();
        END.set(unix::first_round())
    }
}

/// Whether there are hits.
static OPEN: AtomicBool = AtomicBool::new(false);

// SAFETY: both are `SLOT`, or null before `OPEN`.
unsafe impl HitThread for HostThread {
    fn prepare() {
        // Made at once: whoever frees the first block looks at it.
        SLOT.get();
    }

    fn open_hits() -> bool {
        let made = SLOT.get().is_some();
        // Relaxed: the bound of sizes hands it over; who frees too early misses.
        OPEN.store(made, Ordering::Relaxed);
        made
    }

    #[inline]
    fn hit_slot() -> *mut c_void {
        if OPEN.load(Ordering::Relaxed) { SLOT.value() } else { null_mut() }
    }

    #[inline]
    unsafe fn open_slot() -> *mut c_void {
        SLOT.value()
    }
}

unsafe extern "C" fn thread_ends(round: *mut c_void) {
    if unix::waits_for_another_round(&END, round) {
        return;
    }
    if let Some(slot) = shared::thread_ends::<HostThread>() {
        // SAFETY: it is nobody's any more.
        unsafe { crate::process_heap().detach(slot) };
    }
}

/// The calling thread's number, as [`shared::present_number`].
#[inline]
pub(crate) fn own_number() -> usize {
    shared::present_number::<HostThread>()
}

/// Numbers of threads, for heaps that have a cache for each.
///
/// A number is one thread's as long as the thread lives, so no guard is
/// needed; the next thread that gets it finds the caches warm.
#[derive(Clone, Copy, Debug)]
pub struct ThreadCpu;

// SAFETY: a number is handed to one thread at a time, with Release and
// Acquire on its bit.
unsafe impl Cpu for ThreadCpu {
    type Guard = ();

    const CPUS: usize = shared::MAX_INDEXED;

    #[inline]
    fn try_enter() -> Option<(usize, ())> {
        shared::number::<HostThread>().map(|number| (number, ()))
    }
}
