//! Caches per thread, and numbers of threads for the caches of other heaps.
//!
//! A thread's cache is its own, so pop, push and swap are plain code. It goes
//! back when the thread ends; what is allocated or freed after that works
//! without a cache.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{null_mut, without_provenance_mut};

use granule_core::base::class::Class;
use granule_core::cache::Current;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::tops::{STOPPED, Tops};
use granule_core::{Environment, FrontEnd};

use super::indices::Indices;

/// Threads alive at once that have a cache in a heap other than the
/// process's.
pub(crate) const MAX_INDEXED: usize = 256;

/// What a thread is, to an operating system: two words of its own, null in
/// each thread at first, and an end.
///
/// # Safety
///
/// Implementor:
/// - the words are the calling thread's; what was set is what is found, by
///   that thread alone, until it ends;
/// - a thread for which [`call_at_exit`](Self::call_at_exit) was true calls
///   [`thread_ends`] before its words are gone;
/// - no function but `call_at_exit` and `enter` allocates from the process's
///   heap.
pub(crate) unsafe trait Thread: 'static {
    /// What surrounds the heap that has caches for threads.
    type Env: Environment;

    /// The word that leads to the thread's cache.
    fn slot() -> *mut c_void;

    /// Sets it.
    fn set_slot(word: *mut c_void);

    /// The word that is the thread's number.
    fn index() -> *mut c_void;

    /// Sets it; where that cannot be done it stays null.
    fn set_index(word: *mut c_void);

    /// Sees to it that [`thread_ends`] is called when the calling thread ends;
    /// `false` where that cannot be had.
    fn call_at_exit() -> bool;

    /// Leads hits of the calling thread, which is to have a cache now, to its
    /// tops; `false` where they cannot be.
    fn enter(tops: &'static Tops) -> bool {
        let _ = tops;
        true
    }

    /// Undoes [`enter`](Self::enter).
    fn leave() {}
}

/// The front end of the process's heap: a slot per thread.
///
/// There is one process's heap; the thread's word is its cache.
#[derive(Debug)]
pub(crate) struct ThreadSlots<T>(PhantomData<fn() -> T>);

impl<T: Thread> ThreadSlots<T> {
    /// For the process's heap alone.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    /// The tops of the calling thread's cache; `None` where it has none yet, and
    /// where threads have none.
    #[cfg(all(target_os = "linux", not(granule_portable)))]
    #[inline(always)]
    pub(crate) fn own() -> Option<&'static Tops> {
        own_tops::<T>()
    }
}

/// The tops that a thread's word leads to, if it leads anywhere.
///
/// # Safety
///
/// Caller: the word is null, or what [`ThreadSlots`] sets it to.
#[inline(always)]
pub(super) unsafe fn tops_of(word: *mut c_void) -> Option<&'static Tops> {
    // SAFETY: null, `STOPPED`, or the tops of a slot: both live for ever.
    unsafe { word.cast::<Tops>().as_ref() }
}

/// The tops of the thread's own cache, if it has one.
#[inline(always)]
fn own_tops<T: Thread>() -> Option<&'static Tops> {
    // SAFETY: nobody else sets the word.
    unsafe { tops_of(T::slot()) }
}

fn stopped() -> *mut c_void {
    (&raw const STOPPED).cast_mut().cast()
}

// SAFETY: a thread's word leads to a slot that no other thread uses, and
// nothing runs on top of it (signal handlers must not allocate). `stop` is
// granted to the thread itself only.
unsafe impl<T: Thread> FrontEnd<T::Env> for ThreadSlots<T> {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        match own_tops::<T>() {
            // SAFETY: the thread's own.
            Some(tops) => unsafe { tops.pop(class) },
            None => null_mut(),
        }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match own_tops::<T>() {
            // SAFETY: the thread's own; the rest by the contract.
            Some(tops) => unsafe { tops.push(class, object) },
            None => false,
        }
    }

    #[inline]
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        match own_tops::<T>() {
            Some(tops) if !core::ptr::eq(tops, &raw const STOPPED) => {
                // SAFETY: the thread's own, and not `STOPPED`; the rest by
                // the contract.
                unsafe { tops.swap(class, expected, new) }
            }
            _ => false,
        }
    }

    #[inline]
    fn current(&self) -> Current<'_, T::Env> {
        let word = T::slot();
        if word == stopped() {
            return Current::Stopped;
        }
        // SAFETY: a slot begins with its tops, and lives for ever.
        match unsafe { word.cast::<Slot<T::Env>>().as_ref() } {
            Some(slot) => Current::Slot(slot),
            None => Current::Absent,
        }
    }

    fn attach(&self, slot: &'static Slot<T::Env>) -> bool {
        if !T::slot().is_null() {
            return false;
        }
        let word = core::ptr::from_ref(slot).cast_mut().cast::<c_void>();
        // First, because what follows may allocate.
        T::set_slot(word);
        // Else the cache could not be given back at the thread's end, or hits
        // not find it: none.
        let attached = T::slot() == word && T::call_at_exit() && T::enter(slot.tops());
        if !attached {
            T::set_slot(stopped());
        }
        attached
    }

    fn stop(&self, slot: &Slot<T::Env>) -> bool {
        let own = core::ptr::eq(T::slot().cast::<Slot<T::Env>>(), slot);
        if own {
            T::set_slot(stopped());
        }
        own
    }

    fn restart(&self, slot: &Slot<T::Env>) {
        // By the thread that stopped it: nobody else is let.
        T::set_slot(core::ptr::from_ref(slot).cast_mut().cast());
    }
}

/// The calling thread ends: takes its number and its cache back. Returns the
/// slot, which is nobody's now, to be given back to its heap.
pub(crate) fn thread_ends<T: Thread>() -> Option<&'static Slot<T::Env>> {
    give_index_back::<T>();
    let word = T::slot();
    T::set_slot(stopped());
    if word.is_null() || word == stopped() {
        return None;
    }
    T::leave();
    // SAFETY: slots live for ever; the word led this thread alone to it, and no
    // longer does.
    Some(unsafe { &*word.cast() })
}

/// Which numbers threads have.
static INDICES: Indices<{ MAX_INDEXED / usize::BITS as usize }> = Indices::new();

/// The number of a thread that has none, nor will: plus one as others.
const NO_INDEX: usize = usize::MAX;

/// The calling thread's number; `None` where there are too many threads, or
/// the thread is ending. It is one thread's as long as the thread lives.
#[inline]
pub(crate) fn number<T: Thread>() -> Option<usize> {
    match T::index().addr() {
        0 => take_index::<T>(),
        NO_INDEX => None,
        number => Some(number - 1),
    }
}

#[cold]
fn take_index<T: Thread>() -> Option<usize> {
    let taken = INDICES.take();
    let word = without_provenance_mut(taken.map_or(NO_INDEX, |index| index + 1));
    T::set_index(word);
    let index = taken?;
    if T::index() != word {
        // The thread has no such word.
        INDICES.give_back(index);
        return None;
    }
    if !T::call_at_exit() {
        give_index_back::<T>();
        return None;
    }
    Some(index)
}

/// The calling thread's number; none below [`MAX_INDEXED`] where it has none (yet).
#[inline(always)]
pub(crate) fn present_number<T: Thread>() -> usize {
    T::index().addr().wrapping_sub(1)
}

/// The calling thread's number.
fn own_index<T: Thread>() -> Option<usize> {
    match T::index().addr() {
        0 | NO_INDEX => None,
        number => Some(number - 1),
    }
}

/// In the child of a fork: takes the numbers of all threads back but the
/// caller's, the only one there is.
#[cfg(unix)]
pub(crate) fn keep_own_index_only<T: Thread>() {
    INDICES.keep_only(own_index::<T>());
}

/// Whether no thread has a number: then the caches that go with it may be drained, once
/// they are stopped.
pub(crate) fn is_nobodys(number: usize) -> bool {
    number < MAX_INDEXED && INDICES.is_free(number)
}

fn give_index_back<T: Thread>() {
    let index = own_index::<T>();
    T::set_index(without_provenance_mut(NO_INDEX));
    if let Some(index) = index {
        INDICES.give_back(index);
    }
}
