//! The front end of the process's heap where threads have the caches, always.
//!
//! ```text
//! hit   bound of sizes ─ the thread's word ─ its tops
//! miss  OPEN ─ first miss ─▶ chosen: the tier is known, hits are open
//! ```
//!
//! Hits are closed until the tier of checks is known, and for ever where every
//! call is checked: the bound is 0 then, and [`HitThread::hit_slot`] null.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use granule_core::FrontEnd;
use granule_core::base::class::{Class, TABLED};
use granule_core::cache::Current;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;

#[cfg(target_os = "linux")]
use granule_core::provider::Node;

use super::caches::Caches;
use super::choice::{Choice, OPEN};
use super::settings::{self, Variables};
use super::threads::{Thread, ThreadSlots, tops_of};
use crate::imp::env::HostEnv;
use crate::imp::threads::HostThread;

/// A thread whose word hits find fast.
///
/// # Safety
///
/// Implementor: `hit_slot` is null until `open_hits` has returned true, and
/// what [`Thread::slot`] is after that; so is `open_slot`.
pub(crate) unsafe trait HitThread: Thread + Variables {
    /// Makes the thread's words, before the heap's first block; any number of
    /// times, from any thread.
    fn prepare();

    /// From now on hits may find caches; `false` where threads have no word.
    fn open_hits() -> bool;

    /// The word as hits see it.
    fn hit_slot() -> *mut c_void;

    /// The same, without a test.
    ///
    /// # Safety
    ///
    /// Caller: has seen, by Acquire, what was stored by Release after
    /// [`open_hits`](Self::open_hits) had returned true.
    unsafe fn open_slot() -> *mut c_void;
}

/// What is chosen, in the end.
const THREADS: u8 = 2;

static CHOICE: Choice = Choice::open();
/// Sizes below this may be hits.
static OPEN_BELOW: AtomicUsize = AtomicUsize::new(0);

/// Who has the caches of the process's heap.
#[must_use]
pub fn caches() -> Caches {
    if CHOICE.get() == THREADS { Caches::Threads } else { Caches::Open }
}

/// Settles the tier and opens hits, if nobody has; whether that is done.
#[inline]
pub(crate) fn chosen() -> bool {
    match CHOICE.get() {
        THREADS => true,
        OPEN => choose(),
        _ => false,
    }
}

#[cold]
fn choose() -> bool {
    let prepare = || {
        HostThread::prepare();
        if settings::settle_tier::<HostThread>().checks_calls() {
            return THREADS;
        }
        if HostThread::open_hits() {
            // Release: whoever sees the bound sees open hits; pairs with the
            // Acquire in `is_open_for`.
            OPEN_BELOW.store(TABLED, Ordering::Release);
        }
        THREADS
    };
    CHOICE.make(prepare, |_| {}) == THREADS
}

/// In the child of a fork: opens a choice again that another thread was about to
/// make.
#[cfg(unix)]
pub(crate) fn settle() {
    CHOICE.settle(OPEN);
}

/// The front end of the process's heap: a cache per thread.
#[derive(Debug)]
pub struct HostSlots(ThreadSlots<HostThread>);

impl Default for HostSlots {
    fn default() -> Self {
        Self::new()
    }
}

impl HostSlots {
    /// For the process's heap alone.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self(ThreadSlots::new())
    }
}

// SAFETY: acts on the thread's own slot, as `ThreadSlots` does; hits miss until
// they are open.
unsafe impl FrontEnd<HostEnv> for HostSlots {
    #[inline(always)]
    fn is_open_for(&self, size: usize) -> bool {
        // Acquire: pairs with the Release in `choose`.
        size < OPEN_BELOW.load(Ordering::Acquire)
    }

    #[inline]
    fn prepare(&self) {
        HostThread::prepare();
    }

    #[inline(always)]
    unsafe fn pop_first(&self, class: Class) -> *mut u8 {
        // SAFETY: open, by the contract: `is_open_for` has seen the bound; and
        // the thread's own word, which `ThreadSlots` alone sets.
        match unsafe { tops_of(HostThread::open_slot()) } {
            // SAFETY: the thread's own.
            Some(tops) => unsafe { tops.pop(class) },
            None => null_mut(),
        }
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: null, or the thread's own word, which `ThreadSlots` alone sets.
        match unsafe { tops_of(HostThread::hit_slot()) } {
            // SAFETY: the thread's own; the rest by the contract.
            Some(tops) => unsafe { tops.push_even(class, object) },
            None => false,
        }
    }

    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        self.0.pop(class)
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract.
        unsafe { self.0.push(class, object) }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: by the contract.
        unsafe { self.0.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, HostEnv> {
        if chosen() { self.0.current() } else { Current::Stopped }
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        chosen() && self.0.attach(slot)
    }

    #[cfg(target_os = "linux")]
    fn node(&self) -> Node {
        crate::imp::numa::here()
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        self.0.stop(slot)
    }

    fn restart(&self, slot: &Slot<HostEnv>) {
        self.0.restart(slot);
    }
}
