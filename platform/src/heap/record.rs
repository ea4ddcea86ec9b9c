//! All heaps that have been made and not yet ended: who owns a pointer.
//!
//! A heap lives in a record, a block of the process's heap, so that it stays
//! where it is while its handle moves. Newer heaps come first, hence an inner
//! heap before the one whose memory it has.
//!
//! Locks: `ROSTER`, then (at a fork) those of each heap, inner heaps first,
//! then `LIVE`. Changes of the list take both, in this order; who looks up an
//! owner takes `LIVE` alone, a leaf, also from raw memory's functions, which
//! a heap calls under its `growth`.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use granule_core::base::sync::Lock;
use granule_core::heap::OwnedHeap;
use granule_core::provider::Capped;

use super::OwnedConfig;
use super::origin::Origin;
use crate::imp::env::HostEnv;
use crate::process_heap;
use crate::user::numbered::ThreadCaches;

/// A heap, and where it is in the list.
pub(super) struct Record {
    pub(super) heap: OwnedHeap<OwnedConfig>,
    /// Memory of the caller's, first byte and length, that the heap lives on.
    pub(super) given: Option<(NonNull<u8>, usize)>,
    /// A word of the program's.
    pub(super) tag: AtomicPtr<()>,
    /// The heap whose memory this one has.
    outer: Option<NonNull<Record>>,
    /// Under `LIVE`.
    next: Cell<Option<NonNull<Record>>>,
}

/// The newest record.
struct List(Option<NonNull<Record>>);

// SAFETY: records are reached under the lock.
unsafe impl Send for List {}

static ROSTER: Lock<(), HostEnv> = Lock::new(());
static LIVE: Lock<List, HostEnv> = Lock::new(List(None));

/// Whether a heap was ever made whose memory may be another heap's.
static EMBEDDED: AtomicBool = AtomicBool::new(false);

/// How many there are: who looks up an owner need not where there is none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl List {
    fn records(&self) -> impl Iterator<Item = NonNull<Record>> {
        // SAFETY: records in the list are alive; the caller has the list.
        core::iter::successors(self.0, |at| unsafe { at.as_ref() }.next.get())
    }

    /// Takes out the first record that matches.
    fn take(&mut self, matches: impl Fn(NonNull<Record>) -> bool) -> Option<NonNull<Record>> {
        let mut before: Option<NonNull<Record>> = None;
        let found = self.records().find(|&at| {
            let found = matches(at);
            if !found {
                before = Some(at);
            }
            found
        })?;
        // SAFETY: alive, and we have the list.
        let next = unsafe { found.as_ref() }.next.take();
        match before {
            // SAFETY: as above.
            Some(before) => unsafe { before.as_ref() }.next.set(next),
            None => self.0 = next,
        }
        COUNT.fetch_sub(1, Relaxed);
        Some(found)
    }
}

const LAYOUT: Layout = Layout::new::<Record>();

impl Record {
    /// Makes a heap and enters it. `None` when the process's heap has no memory
    /// for the record.
    pub(super) fn make(
        pages: Capped<Origin>,
        given: Option<(NonNull<u8>, usize)>,
        outer: Option<NonNull<Record>>,
    ) -> Option<NonNull<Self>> {
        let at = NonNull::new(process_heap().alloc(LAYOUT))?.cast::<Self>();
        let heap = OwnedHeap::<OwnedConfig>::new(pages, ThreadCaches::new());
        if outer.is_some() || heap.provider().inner().may_be_anybodys() {
            EMBEDDED.store(true, Relaxed);
        }
        // SAFETY: fresh, of that layout.
        unsafe {
            at.write(Self {
                heap,
                given,
                tag: AtomicPtr::new(null_mut()),
                outer,
                next: Cell::new(None),
            });
        };
        Self::enter(at);
        Some(at)
    }

    fn enter(at: NonNull<Self>) {
        let _roster = ROSTER.lock();
        let mut live = LIVE.lock();
        // SAFETY: alive, and in no list.
        unsafe { at.as_ref() }.next.set(live.0);
        live.0 = Some(at);
        // Relaxed: whoever has a pointer into the heap got it, by the program's own
        // synchronisation, after this.
        COUNT.fetch_add(1, Relaxed);
    }

    /// Works on a heap while nobody can find it, nor those inside of it.
    ///
    /// # Safety
    ///
    /// Caller: the record is in the list, and nobody has a handle on the heap.
    pub(super) unsafe fn aside<R>(mut at: NonNull<Self>, work: impl FnOnce(&mut Self) -> R) -> R {
        // SAFETY: by the contract.
        unsafe { Self::leave(at) };
        // SAFETY: alive, and out of the list: ours alone.
        let result = work(unsafe { at.as_mut() });
        // The newest now: there is none inside of it any more.
        Self::enter(at);
        result
    }

    /// Takes a heap out of the list, and those inside of it: their handles were
    /// forgotten, as they borrow its own. What they had besides its memory is
    /// lost.
    ///
    /// # Safety
    ///
    /// Caller: the record was made, and not taken out before.
    pub(super) unsafe fn leave(at: NonNull<Self>) {
        let _roster = ROSTER.lock();
        let mut live = LIVE.lock();
        live.take(|other| other == at);
        Self::leave_inner(&mut live, at);
    }

    fn leave_inner(live: &mut List, outer: NonNull<Self>) {
        // SAFETY: alive, and we have the list.
        let is_inner = |at: NonNull<Self>| unsafe { at.as_ref() }.outer == Some(outer);
        while let Some(inner) = live.take(is_inner) {
            // As deep as heaps are nested.
            Self::leave_inner(live, inner);
        }
    }

    /// Frees the record of a heap that has ended.
    ///
    /// # Safety
    ///
    /// Caller: it has been taken out of the list, and nobody has a handle.
    pub(super) unsafe fn free(at: NonNull<Self>) {
        // SAFETY: by the contract; allocated with this layout.
        unsafe {
            at.drop_in_place();
            process_heap().dealloc(at.cast(), LAYOUT);
        }
    }
}

/// Whether there is any heap but the process's.
#[inline]
pub(super) fn any() -> bool {
    COUNT.load(Relaxed) != 0
}

/// Whether a pointer into some heap may lie in another one as well.
#[inline]
pub(super) fn any_embedded() -> bool {
    EMBEDDED.load(Relaxed)
}

/// The innermost heap that a pointer lies in.
pub(super) fn find(pointer: *const u8) -> Option<NonNull<Record>> {
    find_and(pointer, |record| NonNull::from(record))
}

/// The same, shown while it cannot end.
pub(super) fn find_and<R>(pointer: *const u8, show: impl FnOnce(&Record) -> R) -> Option<R> {
    if !any() {
        return None;
    }
    let live = LIVE.lock();
    // SAFETY: records in the list are alive, and we have the list.
    let mut records = live.records().map(|at| unsafe { &*at.as_ptr() });
    records.find(|record| record.heap.contains(pointer)).map(show)
}

/// Before `fork`: closes the locks of all heaps.
pub(crate) fn before_fork() {
    ROSTER.hold();
    for_each(|heap| heap.before_fork());
    LIVE.hold();
}

/// After `fork`: opens them again.
///
/// # Safety
///
/// Caller: as for [`granule_core::Heap::after_fork`].
pub(crate) unsafe fn after_fork() {
    // SAFETY: by the contract. The list has not changed meanwhile.
    unsafe {
        LIVE.unhold();
        for_each(|heap| heap.after_fork());
        ROSTER.unhold();
    }
}

/// Shows each heap, while `ROSTER` keeps the list as it is.
fn for_each(show: impl Fn(&OwnedHeap<OwnedConfig>)) {
    // Not under `LIVE`: see the order of locks.
    let first = LIVE.lock().0;
    // SAFETY: the caller holds `ROSTER`, so records stay alive and in place.
    let records = core::iter::successors(first, |at| unsafe { at.as_ref() }.next.get());
    // SAFETY: as above.
    records.for_each(|at| show(unsafe { &at.as_ref().heap }));
}
