//! Four words of each thread, and what hits see of them: the standard library's, of
//! the kind that the compiler finds at a fixed place.
//!
//! They need no destructor, so they last as long as the thread's memory does: also
//! where the destructors of its keys have all run. Sanitizers have forgotten the
//! thread by then, and end a program that has destructors in the last round, which
//! the words of macOS's threads would need.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use super::super::threads::LinuxThread;
use crate::user::front::HitThread;

/// Defines the getter and the setter of one word.
macro_rules! thread_word {
    ($name:ident, $get:ident, $set:ident, $what:literal) => {
        std::thread_local! {
            static $name: Cell<*mut c_void> = const { Cell::new(null_mut()) };
        }

        #[doc = concat!("The calling thread's ", $what, ".")]
        #[inline]
        pub(crate) fn $get() -> *mut c_void {
            $name.get()
        }

        #[doc = concat!("Sets the calling thread's ", $what, ".")]
        #[inline]
        pub(crate) fn $set(word: *mut c_void) {
            $name.set(word);
        }
    };
}

thread_word!(SLOT, slot, set_slot, "cache: null before the first miss");
thread_word!(INDEX, index, set_index, "number: null before it has one");
thread_word!(SCOPE, scope, set_scope, "heap for a while: null outside");
thread_word!(THREAD, thread, set_thread, "number by the kernel: null before it was asked for");

pub(crate) mod front {
    //! Hits look at the thread's word: nothing else has to lead them to a cache.

    use granule_core::cache::tops::Tops;

    pub use crate::user::front::{HostSlots, caches};

    /// The calling thread has a cache.
    pub(in crate::linux) fn enter_thread(_tops: &'static Tops) -> bool {
        true
    }

    /// It has none any more.
    pub(in crate::linux) fn leave_thread() {}

    /// In the child of a fork: there are no numbers to take back.
    pub(in crate::linux) fn keep_own_number_only() {}
}

/// Whether there are hits.
static OPEN: AtomicBool = AtomicBool::new(false);

// SAFETY: both are the thread's word, or null before `OPEN`.
unsafe impl HitThread for LinuxThread {
    fn prepare() {}

    fn open_hits() -> bool {
        // Relaxed: the bound of sizes hands it over; who frees too early misses.
        OPEN.store(true, Ordering::Relaxed);
        true
    }

    #[inline]
    fn hit_slot() -> *mut c_void {
        if OPEN.load(Ordering::Relaxed) { slot() } else { null_mut() }
    }

    #[inline]
    unsafe fn open_slot() -> *mut c_void {
        slot()
    }
}
