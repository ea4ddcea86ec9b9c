//! Slots between guard pages.
//!
//! ```text
//! ┌ Pool ┬ records … ┬ guard ┬ slot 0 ┬ guard ┬ slot 1 ┬ … ┬ guard ┐
//!  accessible          inaccessible, but for the pages of live blocks
//! ```
//!
//! A block lies at the first or the last byte of its slot, by chance, so that an
//! access before its start or past its end faults (or 16 bytes from there, where it
//! has to look unlike an object of a class); the rest of its pages holds a
//! pattern that is verified when it is freed. Then its pages are inaccessible
//! again, and so stay until the slot's turn comes: the one freed first is used
//! first.
//!
//! Q1: a slot that is in the queue, or taken out of it, has no live block; its
//! record is written by who took it out. A slot of a live block is changed by
//! who has made the block free.
//!
//! A record's words are read by [`Pool::explain`] at any time: in a signal
//! handler, say, so without a lock.

use core::ptr::NonNull;

use crate::base::bytes::is_all;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::origin::{Caller, Origin};
use crate::base::sync::Update;
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::base::units::PAGE_SIZE;
use crate::heap::free::MEDIUM_ALIGN;
use crate::provider::{Capabilities, PageProvider, Reservation};

/// Bytes of a slot, at least: the largest block that is sampled.
pub(super) const SLOT: usize = 4 * PAGE_SIZE;

/// What the pages of a block hold around it.
const PATTERN: u8 = 0xb7;

const FREE: u32 = 0;
const LIVE: u32 = 1;

/// Where in its slot a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Last,
}

/// What a block's address has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A multiple of this power of two, at most 16.
    Aligned(usize),
    /// A multiple of [`UNLIKE_CLASSES_ALIGN`](Self::UNLIKE_CLASSES_ALIGN), but none of
    /// [`MEDIUM_ALIGN`].
    UnlikeClasses,
}

impl Place {
    pub(super) const UNLIKE_CLASSES_ALIGN: usize = 16;

    /// Bytes from the start of a block of `size` bytes to the end of its pages, where
    /// it lies last in them.
    pub(super) fn extent(self, size: usize) -> usize {
        // A block of no bytes, too, is in its slot.
        let size = size.max(1);
        match self {
            Self::Aligned(align) => size.next_multiple_of(align),
            Self::UnlikeClasses => {
                let bytes = size.next_multiple_of(Self::UNLIKE_CLASSES_ALIGN);
                let like = bytes.is_multiple_of(MEDIUM_ALIGN);
                bytes + if like { Self::UNLIKE_CLASSES_ALIGN } else { 0 }
            }
        }
    }

    /// Bytes from the start of the pages to a block that lies first in them.
    fn first(self) -> usize {
        match self {
            Self::Aligned(_) => 0,
            Self::UnlikeClasses => Self::UNLIKE_CLASSES_ALIGN,
        }
    }
}

/// What became of a slot's last block.
struct Record {
    state: AtomicU32,
    /// The pages that the block lies in: bytes from the slot's first, and how many.
    pages: AtomicUsize,
    bytes: AtomicUsize,
    /// The block's address; 0 before there has been one.
    block: AtomicUsize,
    size: AtomicUsize,
    allocated: Call,
    freed: Call,
    /// The next slot in the queue, plus 1; under the queue's lock.
    next: AtomicU32,
}

/// An [`Origin`] that is read at any time.
struct Call {
    thread: AtomicU32,
    caller: AtomicUsize,
}

impl Call {
    fn set(&self, Origin { thread, caller }: Origin) {
        // Relaxed, as all of a record: it is read for a report alone, by who got
        // the block, or hands it back, under the program's own order.
        self.thread.store(thread, Relaxed);
        self.caller.store(caller.0, Relaxed);
    }

    fn get(&self) -> Origin {
        let caller = Caller(self.caller.load(Relaxed));
        Origin { thread: self.thread.load(Relaxed), caller }
    }
}

/// Free slots, the one that was freed first in front. Slots are plus 1, 0 is
/// none.
pub(super) struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { first: 0, last: 0 }
    }
}

/// The slots of a heap, at the beginning of their reservation.
pub(super) struct Pool {
    /// The guard before the first slot. Its provenance covers all slots.
    start: NonNull<u8>,
    /// Bytes of a machine page.
    page: usize,
    /// From a slot to the next: a guard and the slot's pages.
    stride: usize,
    slots: u32,
    records: NonNull<Record>,
    reservation: Reservation,
}

static_assertions::const_assert!(align_of::<Pool>() >= align_of::<Record>());

// SAFETY: all that changes is atomic.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool and the queue of its slots; `None` when there is no memory.
    pub(super) fn make(provider: &impl PageProvider, slots: u32) -> Option<(&'static Self, Queue)> {
        let page = provider.page_size();
        let stride = SLOT.next_multiple_of(page) + page;
        let count = slots as usize;
        let head = size_of::<Self>() + count * size_of::<Record>();
        let head = head.next_multiple_of(page);
        let bytes = head + count * stride + page;
        let reservation = provider.reserve(bytes).ok()?;
        // SAFETY: just reserved, all of it; inside.
        let (start, prepared) = unsafe {
            let start = reservation.start.add(head);
            (start, prepare(provider, reservation, head))
        };
        if !prepared {
            if provider.capabilities().contains(Capabilities::RELEASE) {
                // SAFETY: from `reserve`, unused. What is refused stays: once.
                let _ = unsafe { provider.release(reservation) };
            }
            return None;
        }
        // SAFETY: the head holds pool and records, aligned, and is accessible and
        // ours; nothing in it is a reference yet.
        unsafe {
            let pool = reservation.start.cast::<Self>();
            let records = pool.add(1).cast::<Record>();
            for slot in 0..slots {
                let next = if slot + 1 == slots { 0 } else { slot + 2 };
                records.add(slot as usize).write(Record::new(next));
            }
            pool.write(Self { start, page, stride, slots, records, reservation });
            Some((pool.as_ref(), Queue { first: 1, last: slots }))
        }
    }

    fn record(&self, slot: u32) -> &Record {
        // SAFETY: there are so many, written by `make`, for ever.
        unsafe { self.records.add(slot as usize).as_ref() }
    }

    /// What to give back.
    pub(super) fn reservation(&self) -> Reservation {
        self.reservation
    }

    /// Ends all blocks, and makes all slots inaccessible as far as may be: a
    /// queue of all.
    pub(super) fn restart(&self, provider: &impl PageProvider) -> Queue {
        let mut queue = Queue::new();
        for slot in 0..self.slots {
            self.record(slot).state.store(FREE, Relaxed);
            self.put(&mut queue, slot);
        }
        let bytes = self.slots as usize * self.stride + self.page;
        // SAFETY: committed, and nobody's by the caller's exclusive borrow; what
        // stays accessible is used again as it is.
        let _ = unsafe { provider.protect(self.start, bytes) };
        queue
    }

    /// Takes the slot that was freed first.
    pub(super) fn take(&self, queue: &mut Queue) -> Option<u32> {
        let slot = queue.first.checked_sub(1)?;
        queue.first = self.record(slot).next.load(Relaxed);
        if queue.first == 0 {
            queue.last = 0;
        }
        Some(slot)
    }

    /// Puts a slot at the end.
    pub(super) fn put(&self, queue: &mut Queue, slot: u32) {
        self.record(slot).next.store(0, Relaxed);
        match queue.last.checked_sub(1) {
            Some(last) => self.record(last).next.store(slot + 1, Relaxed),
            None => queue.first = slot + 1,
        }
        queue.last = slot + 1;
    }

    /// First byte of a slot's pages.
    fn first(&self, slot: u32) -> NonNull<u8> {
        // SAFETY: the slot is inside the reservation.
        unsafe { self.start.add(slot as usize * self.stride + self.page) }
    }

    /// Makes a block of `size` bytes, whose extent is at most [`SLOT`], at `side` of a
    /// slot taken out of the queue; `None` when its pages stay inaccessible.
    pub(super) fn open(
        &self,
        provider: &impl PageProvider,
        slot: u32,
        size: usize,
        place: Place,
        side: Side,
        origin: Origin,
    ) -> Option<NonNull<u8>> {
        let extent = place.extent(size);
        let bytes = extent.next_multiple_of(self.page);
        let (offset, before) = match side {
            Side::First => (0, place.first()),
            Side::Last => (self.stride - self.page - bytes, bytes - extent),
        };
        // SAFETY: the slot is inside the reservation, the pages in the slot.
        let first = unsafe { self.first(slot).add(offset) };
        // SAFETY: pages of the slot, committed.
        unsafe { provider.unprotect(first, bytes) }.ok()?;
        // SAFETY: accessible now; the block is inside.
        let block = unsafe {
            first.write_bytes(PATTERN, bytes);
            first.add(before)
        };
        let record = self.record(slot);
        record.block.store(block.addr().get(), Relaxed);
        record.size.store(size, Relaxed);
        record.pages.store(offset, Relaxed);
        record.bytes.store(bytes, Relaxed);
        record.allocated.set(origin);
        record.freed.set(Origin::default());
        record.state.store(LIVE, Relaxed);
        Some(block)
    }

    /// Whether the address is in a slot or a guard.
    #[inline]
    pub(super) fn contains(&self, address: usize) -> bool {
        let bytes = self.slots as usize * self.stride + self.page;
        address.wrapping_sub(self.start.addr().get()) < bytes
    }

    /// The slot whose guard or pages are at an address inside the pool; of
    /// the guard behind the last slot, that.
    pub(super) fn slot_of(&self, address: usize) -> u32 {
        let slot = (address - self.start.addr().get()) / self.stride;
        (slot as u32).min(self.slots - 1)
    }

    /// Size of the live block at an address inside the pool.
    ///
    /// # Errors
    ///
    /// What to report where there is none.
    pub(super) fn live(&self, address: usize) -> Result<usize, Fault> {
        let record = self.record(self.slot_of(address));
        let size = record.size.load(Relaxed);
        match (record.block.load(Relaxed) == address, record.state.load(Relaxed)) {
            (true, LIVE) => Ok(size),
            (true, _) => Err(record.fault(FaultKind::DoubleFree)),
            _ => Err(Fault::new(FaultKind::InvalidPointer, core::ptr::without_provenance(address))),
        }
    }

    /// Makes a block inaccessible, and gives its slot, which is then the
    /// caller's to [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// What to report: no live block starts at `pointer`, which is inside the
    /// pool, or something was written around it.
    pub(super) fn close<E: Environment>(
        &self,
        provider: &impl PageProvider,
        pointer: NonNull<u8>,
        origin: Origin,
    ) -> Result<u32, Fault> {
        let address = pointer.addr().get();
        let size = self.live(address)?;
        let slot = self.slot_of(address);
        let record = self.record(slot);
        // Relaxed: one of those who free the block wins; see `Call::set`.
        if record.state.compare_exchange_in::<E>(LIVE, FREE, Relaxed).is_err() {
            return Err(record.fault(FaultKind::DoubleFree));
        }
        let bytes = record.bytes.load(Relaxed);
        // SAFETY: where `open` put the block.
        let first = unsafe { self.first(slot).add(record.pages.load(Relaxed)) };
        let before = address - first.addr().get();
        // SAFETY: the pages of a live block, which is the caller's (Q1).
        let around = unsafe {
            let all = core::slice::from_raw_parts(first.as_ptr(), bytes);
            [&all[..before], &all[before + size..]]
        };
        let [sound_before, sound_behind] = around.map(|bytes| is_all(bytes, PATTERN));
        if !sound_before || !sound_behind {
            let before = FaultKind::WrittenBeforeStart;
            let kind = if sound_before { FaultKind::WrittenPastEnd } else { before };
            return Err(record.fault(kind));
        }
        record.freed.set(origin);
        // SAFETY: committed pages of ours, whose block is given up. If they stay
        // accessible, a use after free is not seen.
        let _ = unsafe { provider.protect(first, bytes) };
        Ok(slot)
    }

    /// What an access to an address inside the pool means that has faulted.
    pub(super) fn explain(&self, address: usize) -> Fault {
        let slot = self.slot_of(address);
        let offset = address - self.start.addr().get() - slot as usize * self.stride;
        // A guard belongs to the slot that is nearer.
        let before = offset < self.page / 2 && slot > 0;
        let record = self.record(slot - u32::from(before));
        let block = record.block.load(Relaxed);
        let kind = match record.state.load(Relaxed) {
            _ if block == 0 => FaultKind::Guard,
            LIVE if address < block => FaultKind::BeforeStart,
            LIVE => FaultKind::PastEnd,
            _ => FaultKind::UsedAfterFree,
        };
        let fault = if block == 0 {
            Fault::new(kind, core::ptr::without_provenance(address))
        } else {
            record.fault(kind)
        };
        Fault { accessed: Some(address), ..fault }
    }
}

impl Record {
    fn new(next: u32) -> Self {
        let call = || Call { thread: AtomicU32::new(0), caller: AtomicUsize::new(0) };
        Self {
            state: AtomicU32::new(FREE),
            pages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            block: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            allocated: call(),
            freed: call(),
            next: AtomicU32::new(next),
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        let block = core::ptr::without_provenance(self.block.load(Relaxed));
        Fault {
            size: Some(self.size.load(Relaxed)),
            allocated: Some(self.allocated.get()),
            freed: Some(self.freed.get()),
            ..Fault::new(kind, block)
        }
    }
}

/// Commits a pool, and makes all behind its head inaccessible.
///
/// # Safety
///
/// Caller: just reserved, and longer than its head.
unsafe fn prepare(provider: &impl PageProvider, all: Reservation, head: usize) -> bool {
    let commits = provider.capabilities().contains(Capabilities::COMMIT);
    // SAFETY: the reservation, unused.
    unsafe {
        (!commits || provider.commit(all.start, all.bytes).is_ok())
            && provider.protect(all.start.add(head), all.bytes - head).is_ok()
    }
}
