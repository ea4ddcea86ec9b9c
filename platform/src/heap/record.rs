//! All heaps that have been made and not yet ended: who owns a pointer.
//!
//! A heap lives in a record, a block of the process's heap, so that it stays
//! where it is while its handle moves. Its memory may be another heap's, whichever was
//! made first: a pool's functions may take it anywhere. So the owner of a pointer is
//! not the first heap that it lies in but, where heaps may lie in others, the one whose
//! region there is the smallest, hence inside of the others'.
//!
//! Locks: those of `roster`. Who looks up an owner takes its `live` alone, a leaf,
//! also from raw memory's functions, which a heap calls under its `growth`.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use granule_core::heap::OwnedHeap;
use granule_core::provider::Capped;

use super::OwnedConfig;
use super::origin::Origin;
use super::roster::{Linked, Links, Roster};
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
    links: Links<Record>,
}

impl Linked for Record {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

static ROSTER: Roster<Record, HostEnv> = Roster::new();

/// Whether a heap was ever made whose memory may be another heap's.
static EMBEDDED: AtomicBool = AtomicBool::new(false);

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
        // SAFETY: alive, as whoever makes one inside of it borrows its handle.
        let is_inside = |outer: NonNull<Self>| unsafe { outer.as_ref() }.links.calls();
        let calls = pages.inner().is_of_functions() || outer.is_some_and(is_inside);
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
                links: Links::new(outer, calls),
            });
            // New, and taken out before its heap ends.
            ROSTER.enter(at);
        };
        Some(at)
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
        // Where it was, but for those that were inside of it.
        // SAFETY: just taken out; changed no more.
        unsafe { ROSTER.enter(at) };
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
        // SAFETY: by the contract.
        unsafe { ROSTER.leave(at) };
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
    ROSTER.any()
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
    // Where no heap lies in another one, the first to be found is the only one.
    let is_only = !any_embedded();
    let fit = |record: &Record| {
        let bytes = record.heap.region_bytes(pointer)?;
        Some(if is_only { 0 } else { bytes })
    };
    ROSTER.find(fit, show)
}

/// Before `fork`: closes the locks of all heaps, first those of heaps on memory of the
/// program's functions: who holds one of these may be waiting, in such a function, for
/// any other heap's.
pub(crate) fn before_fork() {
    ROSTER.hold(|record| record.heap.before_fork());
}

/// After `fork`: opens them again.
///
/// # Safety
///
/// Caller: as for [`granule_core::Heap::after_fork`].
pub(crate) unsafe fn after_fork() {
    // SAFETY: by the contract.
    unsafe { ROSTER.unhold(|record| record.heap.after_fork()) };
}

/// In the child, after [`after_fork`]: opens the caches again that lost threads were
/// draining. Those of threads' numbers are whoever's who gets the number, and go back
/// with the next drain.
///
/// # Safety
///
/// Caller: is the only thread.
pub(crate) unsafe fn restart_stopped() {
    // SAFETY: by the contract; a cache of a number that is taken is its thread's, and one
    // that is not nobody's.
    ROSTER.for_each(|record| unsafe { record.heap.restart_stopped() });
}
