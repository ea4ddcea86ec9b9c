//! Threads of Linux: two words at a fixed offset, and an end that a key tells.
//!
//! A thread's cache goes back in the second round of the destructors of its
//! keys (POSIX promises four), because other destructors may allocate. A
//! thread that first allocates in a destructor, up to the second round, is in
//! time as well. Hits find a thread's cache by a number, see [`front`].

use core::ffi::c_void;

use granule_core::cache::guarded::Cpu;
use granule_core::cache::tops::Tops;

use super::env::HostEnv;
use super::{choice, fork, front, rseq, tls};
use crate::user::caches::Caches;
use crate::user::threads::{self as shared, Thread};
use crate::user::unix::{self, Key};

/// A thread of Linux.
#[derive(Debug)]
pub(crate) struct LinuxThread;

#[cfg(granule_portable)]
pub(crate) use LinuxThread as HostThread;

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

/// The key whose destructor ends threads.
static KEY: Key = Key::new(Some(thread_ends));

/// Sees to it that `thread_ends` runs when the calling thread ends.
pub(super) fn call_at_exit() -> bool {
    KEY.set(unix::first_round())
}

unsafe extern "C" fn thread_ends(round: *mut c_void) {
    if unix::waits_for_another_round(&KEY, round) {
        return;
    }
    rseq::thread_ends();
    if let Some(slot) = shared::thread_ends::<LinuxThread>() {
        // SAFETY: it is nobody's any more.
        unsafe { crate::process_heap().detach(slot) };
    }
}

/// In the child of a fork: takes the numbers of all threads back but the
/// caller's.
pub(super) fn keep_own_numbers_only() {
    if choice::caches() == Caches::Threads {
        front::keep_own_number_only();
    }
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

    fn quiesce(cpu: usize) -> bool {
        shared::is_nobodys(cpu)
    }
}
