//! Threads of Linux: two words at a fixed offset, and an end that a key tells.
//!
//! A thread's cache goes back in the second round of the destructors of its
//! keys (POSIX promises four), because other destructors may allocate. A
//! thread that first allocates in a destructor, up to the second round, is in
//! time as well. Hits find a thread's cache by a number, see [`front`].

use core::ffi::c_void;
use core::ptr::without_provenance_mut;
use core::sync::atomic::{AtomicU32, Ordering};

use granule_core::cache::guarded::Cpu;
use granule_core::cache::tops::Tops;

use super::env::HostEnv;
use super::{fork, front, rseq, tls};
use crate::user::threads::{self as shared, Thread};

/// Rounds of key destructors that are left to others.
const ROUNDS: usize = 1;

/// A thread of Linux.
pub(super) struct LinuxThread;

// SAFETY: the words are thread-local; a key's destructor calls `thread_ends`.
unsafe impl Thread for LinuxThread {
    type Env = HostEnv;

    #[inline(always)]
    fn slot() -> *mut c_void {
        tls::slot()
    }

    #[inline(always)]
    fn set_slot(word: *mut c_void) {
        tls::set_slot(word);
    }

    #[inline(always)]
    fn index() -> *mut c_void {
        tls::index()
    }

    #[inline(always)]
    fn set_index(word: *mut c_void) {
        tls::set_index(word);
    }

    fn call_at_exit() -> bool {
        call_at_exit()
    }

    fn enter(tops: &'static Tops) -> bool {
        fork::prepare_once();
        front::enter_thread(tops)
    }

    fn leave() {
        front::leave_thread();
    }
}

/// The key whose destructor ends threads, plus one; 0 before it is made.
static KEY: AtomicU32 = AtomicU32::new(0);

fn key() -> Option<libc::pthread_key_t> {
    // Acquire: pairs with the Release below.
    let made = KEY.load(Ordering::Acquire);
    if made != 0 {
        return Some(made - 1);
    }
    let mut new = 0;
    // SAFETY: `new` is writable; the destructor does not unwind.
    if unsafe { libc::pthread_key_create(&raw mut new, Some(thread_ends)) } != 0 {
        return None;
    }
    // Release: publishes a key that exists; pairs with the Acquire above.
    match KEY.compare_exchange(0, new + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(new),
        Err(other) => {
            // SAFETY: just made, and not the one all use.
            unsafe { libc::pthread_key_delete(new) };
            Some(other - 1)
        }
    }
}

/// Sees to it that `thread_ends` runs when the calling thread ends.
pub(super) fn call_at_exit() -> bool {
    let first_round = without_provenance_mut::<c_void>(1);
    // SAFETY: the key exists. May allocate: the caller holds no lock.
    key().is_some_and(|key| unsafe { libc::pthread_setspecific(key, first_round) } == 0)
}

extern "C" fn thread_ends(round: *mut c_void) {
    if let Some(key) = key()
        && round.addr() <= ROUNDS
    {
        let next = without_provenance_mut(round.addr() + 1);
        // SAFETY: the key exists; its value's memory is there already.
        if unsafe { libc::pthread_setspecific(key, next) } == 0 {
            return;
        }
    }
    rseq::thread_ends();
    if let Some(slot) = shared::thread_ends::<LinuxThread>() {
        // SAFETY: it is nobody's any more.
        unsafe { crate::process_heap().detach(slot) };
    }
}

/// In the child of a fork: takes the numbers of all threads back but the
/// caller's.
pub(super) fn keep_own_index_only() {
    shared::keep_own_index_only::<LinuxThread>();
}

/// The calling thread's number, as [`shared::present_number`].
#[inline(always)]
pub(crate) fn own_number() -> usize {
    shared::present_number::<LinuxThread>()
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
        shared::number::<LinuxThread>().map(|number| (number, ()))
    }
}
