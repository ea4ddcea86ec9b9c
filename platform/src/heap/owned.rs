//! Handles on heaps that end, and how they are made.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

use granule_core::base::origin::Caller;
use granule_core::heap::{Nested, ReleaseRefused};
use granule_core::provider::Capped;

use super::origin::{Kind, Origin, RawFault, RawMemory, RawPages};
use super::record::{self, Record};
use super::{Heap, HeapError};
use crate::imp::pages::HostPages;
use crate::process_heap;

/// A heap that ends, with all of its blocks, when it is dropped.
///
/// All threads may use it, through borrows: it derefs to [`Heap`]. The borrow
/// checker keeps them from outliving it. `'a` is what its memory borrows.
///
/// `fork` in a process with threads is safe for these heaps as it is for the
/// process's.
#[derive(Debug)]
#[must_use = "a heap that is dropped ends"]
pub struct OwnedHeap<'a> {
    record: NonNull<Record>,
    memory: PhantomData<&'a ()>,
}

// SAFETY: the handle is the only one that ends the heap, which any thread may.
unsafe impl Send for OwnedHeap<'_> {}
// SAFETY: borrows give out the heap, which is `Sync`.
unsafe impl Sync for OwnedHeap<'_> {}

/// Which heap: a number that no other heap has as long as this one lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeapId(NonNull<()>);

// SAFETY: a number.
unsafe impl Send for HeapId {}
// SAFETY: as above.
unsafe impl Sync for HeapId {}

/// Whose memory a pointer lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// The process's heap.
    Process,
    /// An [`OwnedHeap`], the innermost one.
    Heap(HeapId),
}

/// Whose memory `pointer` lies in, in a block or not; `None` for what is no
/// heap's (but a `static` one's, see [`new_heap`](crate::new_heap)). Any pointer
/// may be asked about.
///
/// Looks at one heap after the other, under a lock: some ten nanoseconds a
/// heap.
#[must_use]
pub fn owner_of(pointer: *const u8) -> Option<Owner> {
    match record::find(pointer) {
        Some(record) => Some(Owner::Heap(HeapId(record.cast()))),
        None => process_heap().contains(pointer).then_some(Owner::Process),
    }
}

/// The tag of the innermost [`OwnedHeap`] whose memory `pointer` lies in, see
/// [`OwnedHeap::set_tag`]; null where there is none.
#[must_use]
pub fn tag_of(pointer: *const u8) -> *mut () {
    // Relaxed: a word that is the program's to synchronise.
    let tag = record::find_and(pointer, |record| record.tag.load(Relaxed));
    tag.unwrap_or(core::ptr::null_mut())
}

impl OwnedHeap<'static> {
    /// A heap on memory of the system's, without a cap.
    ///
    /// # Errors
    ///
    /// [`HeapError::OutOfMemory`].
    pub fn new() -> Result<Self, HeapError> {
        HeapBuilder::new().build()
    }

    /// Lets the heap live for ever.
    #[must_use]
    pub fn leak(self) -> &'static Heap {
        let this = ManuallyDrop::new(self);
        // SAFETY: the record is alive, and nobody is left to free it; its memory
        // borrows nothing that ends.
        unsafe { &this.record.as_ref().heap }
    }
}

impl OwnedHeap<'_> {
    /// Which heap this is.
    #[must_use]
    pub fn id(&self) -> HeapId {
        HeapId(self.record.cast())
    }

    /// Gives the heap a word of the program's, for [`tag_of`].
    pub fn set_tag(&self, tag: *mut ()) {
        // SAFETY: alive.
        unsafe { self.record.as_ref() }.tag.store(tag, Relaxed);
    }

    /// The most that the heap may hold, in bytes; `None` without a cap.
    #[must_use]
    pub fn cap(&self) -> Option<usize> {
        Some(self.provider().cap()).filter(|&cap| cap <= isize::MAX as usize)
    }

    /// What the program's functions last did wrong, see [`HeapBuilder::raw`].
    #[must_use]
    pub fn raw_fault(&self) -> Option<RawFault> {
        self.provider().inner().raw_fault()
    }

    /// Ends all blocks; the heap is as new, but that it keeps what
    /// [raw memory](HeapBuilder::raw) never takes back, and uses it again. Returns the
    /// bytes given back.
    ///
    /// # Errors
    ///
    /// [`ReleaseRefused`], see [`granule_core::Heap::release_all`].
    pub fn reset(&mut self) -> Result<usize, ReleaseRefused> {
        // SAFETY: in the list; borrowed exclusively, so nobody has a handle.
        unsafe {
            Record::aside(self.record, |record| {
                let released = record.heap.release_all();
                if let Some((start, bytes)) = record.given {
                    // As large as before, so there is room. The heap's alone, by
                    // the contract of `HeapBuilder::fixed`.
                    let _ = record.heap.add_region(start, bytes);
                }
                released
            })
        }
    }

    /// Ends the heap, and says whether all of its memory was taken back.
    /// Returns the bytes given back.
    ///
    /// # Errors
    ///
    /// [`ReleaseRefused`] with what was refused; it is asked once more, and then
    /// lost.
    pub fn destroy(self) -> Result<usize, ReleaseRefused> {
        let this = ManuallyDrop::new(self);
        // SAFETY: alive, and the handle is given up: nobody else has one on the
        // heap, nor on those inside of it.
        unsafe {
            Record::leave(this.record);
            let mut record = this.record;
            let released = record.as_mut().heap.release_all();
            Record::free(record);
            released
        }
    }

    /// The handle as a pointer, for the C interface.
    #[must_use]
    pub fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).record.cast()
    }

    /// The handle again.
    ///
    /// # Safety
    ///
    /// Caller: the pointer is of [`into_raw`](Self::into_raw), has not been made a
    /// handle that still exists, and the lifetime is no longer than that of the
    /// handle it was.
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self { record: raw.cast(), memory: PhantomData }
    }
}

impl Deref for OwnedHeap<'_> {
    type Target = Heap;

    #[inline(always)]
    fn deref(&self) -> &Heap {
        // SAFETY: alive as long as the handle; exclusive only with it.
        unsafe { &self.record.as_ref().heap }
    }
}

granule_core::allocator_through!(['h] &OwnedHeap<'h>, this => &***this);

impl Drop for OwnedHeap<'_> {
    fn drop(&mut self) {
        // SAFETY: alive, and the handle ends: nobody else has one on the heap,
        // nor on those inside of it.
        unsafe {
            Record::leave(self.record);
            Record::free(self.record);
        }
    }
}

/// Says what a heap is to be.
///
/// ```
/// use granule::heap::{HeapBuilder, Owner, owner_of};
/// use std::alloc::Layout;
///
/// let session = HeapBuilder::new().cap(16 << 20).build()?;
/// {
///     let request = HeapBuilder::new().inside(&session).build()?;
///     let block = request.alloc(Layout::new::<[u8; 100]>());
///     assert_eq!(owner_of(block), Some(Owner::Heap(request.id())));
///     assert!(session.contains(block));
/// }
/// assert_eq!(session.stats().live_bytes(), 0);
/// # Ok::<(), granule::heap::HeapError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes nothing by itself"]
pub struct HeapBuilder<'a> {
    kind: Kind,
    cap: Option<usize>,
    given: Option<(NonNull<u8>, usize)>,
    outer: Option<NonNull<Record>>,
    memory: PhantomData<&'a ()>,
}

impl Default for HeapBuilder<'static> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> HeapBuilder<'a> {
    /// A heap on memory of the system's, without a cap.
    pub fn new() -> Self {
        Self::from(Kind::System(HostPages::for_heaps()))
    }

    fn from(kind: Kind) -> Self {
        Self { kind, cap: None, given: None, outer: None, memory: PhantomData }
    }

    /// A heap on memory of the process's heap: what is small and soon ends gets
    /// and gives back its memory without a system call.
    pub fn inside_process() -> Self {
        Self::from(Kind::Process)
    }

    /// A heap that lives on `bytes` from `start`, and has nothing else: a fixed
    /// pool. The ends are rounded inwards to 4 KiB, and tables take 1.7 %. Part of
    /// a block of the process's heap of up to 32 KiB is refused as too small: the
    /// process's `free` would take the pool's blocks for its own.
    ///
    /// # Safety
    ///
    /// Caller: the memory is readable and writable, and the heap's alone until
    /// the heap has ended; a handle that is forgotten never does.
    pub unsafe fn fixed(start: NonNull<u8>, bytes: usize) -> Self {
        Self { given: Some((start, bytes)), ..Self::from(Kind::Nothing) }
    }

    /// A heap on memory that functions of the program's hand out: a pool that
    /// grows. A piece that is misaligned, too small, or of a length that is not
    /// whole is given back and refused, as if there were no more, and
    /// [`OwnedHeap::raw_fault`] says why.
    ///
    /// # Safety
    ///
    /// Caller: `alloc` returns null or memory that is readable, writable and
    /// nobody else's until `free` gets it, as long as it says; both may be called
    /// from any thread (one call at a time), keep to the contract of
    /// [`granule_core::PageProvider`], and make or end no heap. They may use the
    /// process's heap and other heaps, but of those that are raw themselves, or
    /// [inside](Self::inside) of one that is, only what was made before this one: so
    /// not the heap they serve, nor any inside of it.
    pub unsafe fn raw(memory: RawMemory) -> Self {
        Self::from(Kind::Raw(RawPages::new(memory)))
    }

    /// On memory of `outer`, which cannot end before. Its blocks are no blocks of
    /// `outer`, and count there as what was taken for them.
    pub fn inside<'outer>(self, outer: &'outer OwnedHeap<'_>) -> HeapBuilder<'outer> {
        // SAFETY: the heap stays where it is, and the handle, which is borrowed
        // for as long as the inner one's, keeps it from ending. A handle that is
        // forgotten is used no more, see `Record::leave`.
        let pages = unsafe { Nested::borrowing(&**outer) };
        let made = HeapBuilder::from(Kind::Heap(pages));
        HeapBuilder { cap: self.cap, outer: Some(outer.record), ..made }
    }

    /// Never more than `bytes`, blocks, caches and tables together.
    pub fn cap(self, bytes: usize) -> Self {
        Self { cap: Some(bytes), ..self }
    }

    /// Makes the heap.
    ///
    /// # Errors
    ///
    /// See [`HeapError`].
    pub fn build(self) -> Result<OwnedHeap<'a>, HeapError> {
        if let Kind::Raw(raw) = &self.kind
            && !raw.is_whole()
        {
            return Err(HeapError::BadGranularity);
        }
        if self.given.is_some_and(|(start, _)| process_heap().is_in_slab(start.as_ptr())) {
            return Err(HeapError::BufferTooSmall);
        }
        let first_is_asked_for = matches!(self.kind, Kind::Raw(_));
        let pages = Capped::new(Origin(self.kind), self.cap.unwrap_or(usize::MAX))?;
        let record = Record::make(pages, self.given, self.outer).ok_or(HeapError::OutOfMemory)?;
        let heap = OwnedHeap { record, memory: PhantomData };
        if let Some((start, bytes)) = self.given {
            // SAFETY: by the contract of `fixed`.
            let added = unsafe { heap.add_region(start, bytes) };
            added.map_err(|_| HeapError::BufferTooSmall)?;
        }
        if first_is_asked_for {
            heap.try_raw()?;
        }
        Ok(heap)
    }
}

impl OwnedHeap<'_> {
    /// Takes the first piece of raw memory, so that what is wrong with it is
    /// said at once.
    fn try_raw(&self) -> Result<(), HeapError> {
        let Some(block) = NonNull::new(self.alloc_class(SMALLEST, 8, Caller::UNKNOWN)) else {
            return Err(self.raw_fault().map_or(HeapError::OutOfMemory, HeapError::Raw));
        };
        // SAFETY: just allocated.
        unsafe { self.free(block) };
        Ok(())
    }
}

/// The class of 8 bytes.
const SMALLEST: granule_core::base::class::Class = granule_core::base::class::Class::for_malloc(8);
