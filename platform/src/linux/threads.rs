//! Caches per thread: the front end of the process's heap where CPUs cannot
//! have them, and numbers of threads for the caches of other heaps.
//!
//! A thread's cache is its own, so pop, push and swap are plain code; hits
//! find it by a number of the thread, see [`front`]. It goes
//! back when the thread ends, in the second round of the destructors of its
//! keys (POSIX promises four), because other destructors may allocate; what is
//! allocated or freed after that works without a cache. A thread that first
//! allocates in a destructor, up to the second round, is in time as well.

use core::ffi::c_void;
use core::ptr::{null_mut, without_provenance_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use granule_core::FrontEnd;
use granule_core::base::class::Class;
use granule_core::cache::Current;
use granule_core::cache::guarded::Cpu;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::tops::{STOPPED, Tops};

use super::env::HostEnv;
use super::indices::Indices;
use super::{fork, front, rseq, tls};

/// Threads alive at once that have a cache in a heap other than the
/// process's.
pub(crate) const MAX_INDEXED: usize = 256;

/// Rounds of key destructors that are left to others.
const ROUNDS: usize = 1;

/// The front end of the process's heap: a slot per thread.
///
/// There is one process's heap; the thread's word is its cache.
#[derive(Debug, Default)]
pub(super) struct ThreadSlots(());

impl ThreadSlots {
    /// For the process's heap alone.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

/// The tops of the thread's own cache, if it has one.
#[inline(always)]
fn own_tops() -> Option<&'static Tops> {
    // SAFETY: null, `STOPPED`, or the tops of a slot: both live for ever.
    unsafe { tls::slot().cast::<Tops>().as_ref() }
}

fn stopped() -> *mut c_void {
    (&raw const STOPPED).cast_mut().cast()
}

// SAFETY: a thread's word leads to a slot that no other thread uses, and
// nothing runs on top of it (signal handlers must not allocate). `stop` is
// granted to the thread itself only.
unsafe impl FrontEnd<HostEnv> for ThreadSlots {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        match own_tops() {
            // SAFETY: the thread's own.
            Some(tops) => unsafe { tops.pop(class) },
            None => null_mut(),
        }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match own_tops() {
            // SAFETY: the thread's own; the rest by the contract.
            Some(tops) => unsafe { tops.push(class, object) },
            None => false,
        }
    }

    #[inline]
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        match own_tops() {
            Some(tops) if !core::ptr::eq(tops, &raw const STOPPED) => {
                // SAFETY: the thread's own, and not `STOPPED`; the rest by
                // the contract.
                unsafe { tops.swap(class, expected, new) }
            }
            _ => false,
        }
    }

    #[inline]
    fn current(&self) -> Current<'_, HostEnv> {
        let word = tls::slot();
        if word == stopped() {
            return Current::Stopped;
        }
        // SAFETY: a slot begins with its tops, and lives for ever.
        match unsafe { word.cast::<Slot<HostEnv>>().as_ref() } {
            Some(slot) => Current::Slot(slot),
            None => Current::Absent,
        }
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        if !tls::slot().is_null() {
            return false;
        }
        let word = core::ptr::from_ref(slot).cast_mut().cast::<c_void>();
        // First, because what follows may allocate.
        tls::set_slot(word);
        fork::prepare_once();
        // Else the cache could not be given back at the thread's end, or hits
        // not find it: none.
        let attached = call_at_exit() && front::enter_thread(slot.tops());
        if !attached {
            tls::set_slot(stopped());
        }
        attached
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        core::ptr::eq(tls::slot().cast::<Slot<HostEnv>>(), slot)
    }

    fn restart(&self, _: &Slot<HostEnv>) {}
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
    give_index_back();
    rseq::thread_ends();
    let word = tls::slot();
    tls::set_slot(stopped());
    if !word.is_null() && word != stopped() {
        front::leave_thread();
        // SAFETY: slots live for ever; the word led this thread alone to it,
        // and no longer does.
        unsafe { crate::process_heap().detach(&*word.cast()) };
    }
}

/// Which numbers threads have.
static INDICES: Indices<{ MAX_INDEXED / usize::BITS as usize }> = Indices::new();

/// The number of a thread that has none, nor will: plus one as others.
const NO_INDEX: usize = usize::MAX;

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

    #[inline]
    fn try_enter() -> Option<(usize, ())> {
        match tls::index().addr() {
            0 => take_index(),
            NO_INDEX => None,
            number => Some((number - 1, ())),
        }
    }
}

#[cold]
fn take_index() -> Option<(usize, ())> {
    let taken = INDICES.take();
    let number = taken.map_or(NO_INDEX, |index| index + 1);
    tls::set_index(without_provenance_mut(number));
    if taken.is_some() && !call_at_exit() {
        give_index_back();
        return None;
    }
    taken.map(|index| (index, ()))
}

/// The calling thread's number.
fn own_index() -> Option<usize> {
    match tls::index().addr() {
        0 | NO_INDEX => None,
        number => Some(number - 1),
    }
}

/// In the child of a fork: takes the numbers of all threads back but the
/// caller's, the only one there is.
pub(super) fn keep_own_index_only() {
    INDICES.keep_only(own_index());
}

fn give_index_back() {
    let index = own_index();
    tls::set_index(without_provenance_mut(NO_INDEX));
    if let Some(index) = index {
        INDICES.give_back(index);
    }
}
