//! `fork` in a process with threads.
//!
//! Before: every lock of the process's heap, of those that end, and of the tags of
//! those that have ended, is taken, so that the copy is whole. After: they open again,
//! and the child takes back the caches of the threads it does not have (each consistent
//! at any instant: its state is one word a class). Caches of CPUs stay where they are,
//! see [`rseq`](super::rseq); those that another thread was draining open again. `vfork`
//! and `CLONE_VM` children share memory with their parent and must not allocate, as
//! everywhere.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{choice, env, settings, threads};
use crate::heap::{record, tags};
use crate::user::caches::Caches;

static PREPARED: AtomicBool = AtomicBool::new(false);

/// Registers the handlers as the program is loaded. Handlers registered
/// *later* run earlier before a fork and later after it, so they may
/// allocate: ours have to be the first.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        settings::program_starts();
        // So that a tier of checks is in force before the program allocates.
        choice::choose_now();
        prepare_once();
    }
    at_start
};

/// Registers the handlers, once: as the program is loaded or, where a
/// constructor allocates before that, at the first allocation.
pub(crate) fn prepare_once() {
    // Relaxed: the flag carries nothing, the winner registers.
    if !PREPARED.load(Ordering::Relaxed) && !PREPARED.swap(true, Ordering::Relaxed) {
        let (parent, child) = (Some(after_in_parent as _), Some(after_in_child as _));
        // SAFETY: the handlers do not unwind. May allocate: no lock is held.
        // Failure leaves fork as unsafe as without us.
        env::quietly(|| unsafe { libc::pthread_atfork(Some(before), parent, child) });
    }
}

extern "C" fn before() {
    // Nobody waits under it.
    tags::before_fork();
    // Heaps whose memory is the process's heap's first.
    record::before_fork();
    crate::process_heap().before_fork();
}

extern "C" fn after_in_parent() {
    // SAFETY: `before` ran in this thread.
    unsafe {
        crate::process_heap().after_fork();
        record::after_fork();
        tags::after_fork();
    }
}

extern "C" fn after_in_child() {
    // SAFETY: `before` ran in the thread that this one is the copy of, and it
    // is the only one.
    unsafe {
        crate::process_heap().after_fork();
        record::after_fork();
        tags::after_fork();
        record::restart_stopped();
        match choice::caches() {
            Caches::Threads => crate::process_heap().adopt_orphans(),
            Caches::Cpus => crate::process_heap().restart_stopped(),
            Caches::Open => {}
        }
    }
    env::forget_thread();
    choice::settle();
    threads::keep_own_numbers_only();
}

#[cfg(test)]
mod tests {
    use super::*;
    use choice::{caches, settle};

    #[test]
    fn a_choice_is_made_once_and_stays() {
        let heap = crate::process_heap();
        let choices = std::thread::scope(|scope| {
            let threads = [0; 8].map(|_| {
                scope.spawn(|| {
                    let block = heap.alloc(core::alloc::Layout::new::<[u64; 4]>());
                    // SAFETY: live, if there is memory.
                    unsafe { heap.free(core::ptr::NonNull::new(block).expect("memory")) };
                    caches()
                })
            });
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let last = caches();
        assert_ne!(last, Caches::Open);
        let early = choices.iter().filter(|choice| **choice != last);
        // Whoever came while another one chose worked without a cache.
        assert!(early.clone().all(|choice| *choice == Caches::Open), "{choices:?}");
        settle();
        assert_eq!(caches(), last);
    }
}
