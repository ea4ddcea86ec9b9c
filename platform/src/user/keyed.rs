//! Threads by what POSIX has alone: two words and an end, all by keys.
//!
//! macOS's, because a load at a fixed place, which would be faster, is not
//! written without a machine to run it on; and Linux's with `--cfg
//! granule_portable="keys"`, where its tests run.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use granule_core::cache::guarded::Cpu;

use super::front::HitThread;
use super::threads::{self as shared, Thread};
use super::unix::{self, Key};
use crate::imp::env::HostEnv;
use crate::imp::fork;

/// A thread of a system that has POSIX's keys.
#[derive(Debug)]
pub(crate) struct HostThread(());

/// The word that leads to the thread's cache.
static SLOT: Key = Key::new(Some(keep_slot));
/// The thread's number.
static INDEX: Key = Key::new(Some(keep_index));
/// Counts rounds at the thread's end.
static END: Key = Key::new(Some(thread_ends));

// SAFETY: values of keys are the thread's own, and stay to its end, because the
// destructors of both words set them again; that of `END` calls `thread_ends`.
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
        // `SLOT` because whoever frees the first block looks at it. All, because
        // glibc allocates for the values of any keys but a process's first ones.
        for key in [&SLOT, &INDEX, &END] {
            key.get();
        }
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

/// At a thread's end each round makes every word null, also those of keys without
/// a destructor (in glibc and in Apple's library, though POSIX does not say so): it
/// is set again at once, or frees that follow would make a new cache.
unsafe extern "C" fn keep_slot(word: *mut c_void) {
    SLOT.set(word);
}

/// As [`keep_slot`].
unsafe extern "C" fn keep_index(word: *mut c_void) {
    INDEX.set(word);
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

    fn quiesce(cpu: usize) -> bool {
        shared::is_nobodys(cpu)
    }
}
