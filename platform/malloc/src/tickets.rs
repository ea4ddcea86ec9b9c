//! Handles on heaps: what a C program has in place of the borrow checker.
//!
//! A handle points to a ticket, which outlives its heap: whoever uses it then is
//! told so. Tickets are used again, the oldest first and no sooner than there
//! are a thousand: so a use after that many heaps may go unnoticed.
//!
//! Locks: none here; the list of used tickets has its own, see `granule_rt::heap`.

use core::alloc::Layout;
use core::ffi::c_int;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use granule_rt::base::fault::{Fault, FaultKind};
use granule_rt::heap::{HeapBuilder, HeapError, OwnedHeap, TagLink, keep_tag, kept_tag};
use granule_rt::{Environment, HostEnv, outlined, process_heap};

use crate::errno::fail;

/// `granule_heap_t`, and `granule_pool_t`.
#[derive(Debug)]
#[repr(C)]
pub struct Ticket {
    /// Among those of heaps that have ended.
    link: TagLink,
    /// The heap, an `OwnedHeap` made raw; null once it has ended.
    heap: AtomicPtr<()>,
    /// Heaps that have memory of this one.
    inner: AtomicUsize,
    /// The heap that this one has memory of.
    outer: AtomicPtr<Ticket>,
}

// Its link is where it begins: a pointer to one is a pointer to the other.
const _: () = assert!(core::mem::offset_of!(Ticket, link) == 0);

/// One that was of a heap that has ended.
fn used() -> Option<&'static Ticket> {
    // SAFETY: what is kept are tickets, by the contract of `keep_tag`, which `keep` alone
    // calls; they are never given back.
    kept_tag().map(|link| unsafe { link.cast::<Ticket>().as_ref() })
}

/// Keeps one to be used again.
fn keep(ticket: &'static Ticket) {
    // SAFETY: it begins with the link, is of no heap, so in no list, and never given back;
    // all of it is atomics.
    unsafe { keep_tag(NonNull::from(ticket).cast()) };
}

fn fresh() -> Option<&'static Ticket> {
    let at =
        NonNull::new(outlined(process_heap()).alloc(Layout::new::<Ticket>()))?.cast::<Ticket>();
    // SAFETY: fresh, of that layout, and never given back.
    unsafe {
        at.write(Ticket {
            link: TagLink::new(),
            heap: AtomicPtr::new(null_mut()),
            inner: AtomicUsize::new(0),
            outer: AtomicPtr::new(null_mut()),
        });
        Some(at.as_ref())
    }
}

/// What `errno` says about it.
pub(crate) fn error(error: HeapError) -> c_int {
    if error == HeapError::OutOfMemory { libc::ENOMEM } else { libc::EINVAL }
}

/// Makes a heap and its handle.
pub(crate) fn make(
    builder: HeapBuilder<'_>,
    outer: Option<&'static Ticket>,
) -> Result<*mut Ticket, HeapError> {
    let ticket = used().or_else(fresh).ok_or(HeapError::OutOfMemory)?;
    let heap = match builder.build() {
        Ok(heap) => heap,
        Err(error) => {
            keep(ticket);
            return Err(error);
        }
    };
    let handle = core::ptr::from_ref(ticket).cast_mut();
    heap.set_tag(handle.cast());
    let outer = outer.map_or(null_mut(), |outer| {
        outer.inner.fetch_add(1, Ordering::Relaxed);
        core::ptr::from_ref(outer).cast_mut()
    });
    ticket.outer.store(outer, Ordering::Relaxed);
    // Release: a thread that sees the heap sees it whole; pairs with the Acquire in
    // `heap`.
    ticket.heap.store(heap.into_raw().as_ptr(), Ordering::Release);
    Ok(handle)
}

/// The ticket of a handle; `None` and `EINVAL` for null.
///
/// # Safety
///
/// Caller: the handle is null or was made by [`make`].
pub(crate) unsafe fn ticket(handle: *mut Ticket) -> Option<&'static Ticket> {
    // SAFETY: by the contract; tickets are never given back.
    let ticket = unsafe { handle.as_ref() };
    if ticket.is_none() {
        fail(libc::EINVAL);
    }
    ticket
}

impl Ticket {
    /// The heap; a report where it has ended.
    #[inline]
    pub(crate) fn heap(&'static self) -> ManuallyDrop<OwnedHeap<'static>> {
        // Acquire: pairs with the Release in `make`.
        match NonNull::new(self.heap.load(Ordering::Acquire)) {
            // SAFETY: of `into_raw`; whoever ends the heap does not use it meanwhile,
            // by the contract of the functions, and this handle ends nothing.
            Some(raw) => ManuallyDrop::new(unsafe { OwnedHeap::from_raw(raw) }),
            None => self.ended(),
        }
    }

    /// Takes the heap out, to end it. `None` and `EBUSY` while others have memory
    /// of it.
    pub(crate) fn take(&'static self) -> Option<OwnedHeap<'static>> {
        if !self.is_alone() {
            return None;
        }
        // Acquire: as in `heap`; of two who end it one gets it.
        let Some(raw) = NonNull::new(self.heap.swap(null_mut(), Ordering::Acquire)) else {
            self.ended()
        };
        // SAFETY: as a raw pointer it was the one handle, and is ours now.
        Some(unsafe { OwnedHeap::from_raw(raw) })
    }

    /// Whether no other heap has memory of this one; else `EBUSY`.
    pub(crate) fn is_alone(&self) -> bool {
        let alone = self.inner.load(Ordering::Relaxed) == 0;
        if !alone {
            fail(libc::EBUSY);
        }
        alone
    }

    /// The heap has been taken out and has ended.
    pub(crate) fn retire(&'static self) {
        // SAFETY: null, or a ticket.
        if let Some(outer) = unsafe { self.outer.load(Ordering::Relaxed).as_ref() } {
            outer.inner.fetch_sub(1, Ordering::Relaxed);
        }
        keep(self);
    }

    #[cold]
    fn ended(&self) -> ! {
        HostEnv::fatal(Fault::new(FaultKind::HeapEnded, core::ptr::from_ref(self).cast()))
    }
}
