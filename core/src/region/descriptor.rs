//! The tables behind a region's pages.
//!
//! ```text
//! reservation  ┌ Region ┬ classes: 1 B/page ┬ tags: 4 B/page ┬ descriptors: 64 B/page ┬ pages …
//! ```
//!
//! - A *class byte* says which slab class a page belongs to; 0 otherwise. The
//!   unsized free reads nothing else.
//! - A *tag* holds length and state of a run, at its first and last page. All
//!   others say no state, so a pointer into the middle of a run is recognised.
//! - A *descriptor* is 64 bytes that belong to whoever owns the page: a slab's header
//!   and bitmap; links and stamp at the head of a short free run.
//! - Links and stamp of a longer one, its *record*, are in the tags behind its first,
//!   which are 0 otherwise. Large runs are far from each other, and the tags of 4 MiB
//!   share a page, the descriptors of 256 KiB: buffers that grow through 80 MiB had a
//!   mebibyte of descriptors.
//!
//! Together 69 bytes a page, 1.7 %, touched only as pages are used.

use core::ptr::NonNull;

use super::bins::NIL;
use super::runs::{Granules, Stamp};
use super::span::Span;
use crate::base::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// Bytes of descriptor for each page.
pub(crate) const DESCRIPTOR_BYTES: usize = 64;

/// Bytes of all tables for each page.
pub(crate) const TABLE_BYTES: usize = 1 + size_of::<u32>() + DESCRIPTOR_BYTES;

const FREE: u32 = 1;
const USED_HEAD: u32 = 2;
const USED_TAIL: u32 = 3;
const STATE: u32 = 3;

/// Record of a short free run, in its first page's descriptor.
#[repr(C)]
struct FreeRun {
    next: u32,
    previous: u32,
    since: u32,
    /// Where it is not known to be zero.
    dirty: Span,
    /// Where it may have memory behind it that a purge would give back.
    resident: Span,
}

static_assertions::const_assert!(size_of::<FreeRun>() <= DESCRIPTOR_BYTES);

/// Tags of the record of a long free run, from the second page's on: next, previous,
/// both halves of when, bounds of the dirty and of the resident span. Each is shifted
/// past the state.
const RECORD: u32 = 8;
/// The least length of a run that has these tags between its first and last.
const LONG: u32 = RECORD + 2;

/// No run, among links in tags: page numbers are one more there, which is at most
/// [`PageCount::MAX`](crate::base::units::PageCount::MAX) and fits.
const NO_RUN: u32 = 0;

/// Where the tables are. Plain pointers: the region keeps them valid for the
/// committed pages (invariant G1).
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    pub classes: NonNull<AtomicU8>,
    pub tags: NonNull<AtomicU32>,
    pub descriptors: NonNull<u8>,
}

impl Tables {
    /// The class byte of a committed page.
    #[inline]
    pub(crate) fn class_byte(&self, page: u32) -> &AtomicU8 {
        // SAFETY: G1, the table covers every committed page.
        unsafe { self.classes.add(page as usize).as_ref() }
    }

    /// First byte of the descriptor of a committed page.
    #[inline]
    pub(crate) fn descriptor(&self, page: u32) -> NonNull<u8> {
        // SAFETY: G1, the table covers every committed page.
        unsafe { self.descriptors.add(page as usize * DESCRIPTOR_BYTES) }
    }

    /// Length of the used run that starts at `page`, if one does.
    #[inline]
    pub(crate) fn used_run_at(&self, page: u32) -> Option<u32> {
        let tag = self.tag(page).load(Relaxed);
        (tag & STATE == USED_HEAD).then_some(tag >> 2)
    }

    /// Length of the free run with an end at `page`, if one has.
    #[inline]
    pub(crate) fn free_run_at(&self, page: u32) -> Option<u32> {
        let tag = self.tag(page).load(Relaxed);
        (tag & STATE == FREE).then_some(tag >> 2)
    }

    /// Touches what of the tables belongs to the used run of `len` pages at
    /// `start`, so that they have memory behind them.
    ///
    /// # Safety
    ///
    /// Caller: owns the run, which has no class, and has nothing in its
    /// descriptors.
    pub(super) unsafe fn touch(&self, start: u32, len: u32) {
        // Inside a run tags and class bytes are 0, and nobody else writes them.
        let inner = || start + 1..start + len.max(2) - 1;
        inner().step_by(4096).for_each(|page| self.class_byte(page).store(0, Relaxed));
        inner().step_by(4096 / size_of::<u32>()).for_each(|page| self.tag(page).store(0, Relaxed));
        for page in (start..start + len).step_by(4096 / DESCRIPTOR_BYTES) {
            // SAFETY: G1; G2, the caller's. Volatile: nobody reads it.
            unsafe { self.descriptor(page).write_volatile(0) };
        }
    }

    /// Whether the last page of the run that starts at `start` says so, too.
    pub(super) fn has_tail(&self, start: u32, len: u32) -> bool {
        let tail = self.tag(start + len - 1).load(Relaxed);
        match self.tag(start).load(Relaxed) & STATE {
            USED_HEAD if len > 1 => tail == len << 2 | USED_TAIL,
            state => tail == len << 2 | state,
        }
    }

    /// Whether the pages between the first and the last of a run have the tags of such:
    /// no state, and 0 but for a free run's record.
    pub(super) fn is_plain_inside(&self, start: u32, len: u32, is_free: bool) -> bool {
        let record = if is_free && len >= LONG { RECORD } else { 0 };
        (start + 1..(start + len - 1).max(start + 1)).all(|page| {
            let tag = self.tag(page).load(Relaxed);
            if page - start <= record { tag & STATE == 0 } else { tag == 0 }
        })
    }

    /// A number of the record of the long free run at `start`.
    #[inline]
    fn recorded(&self, start: u32, number: u32) -> u32 {
        self.tag(start + 1 + number).load(Relaxed) >> 2
    }

    #[inline]
    fn record(&self, start: u32, number: u32, value: u32) {
        self.tag(start + 1 + number).store(value << 2, Relaxed);
    }

    #[inline]
    fn recorded_span(&self, start: u32, number: u32) -> Span {
        Span { start: self.recorded(start, number), end: self.recorded(start, number + 1) }
    }

    #[inline]
    fn record_span(&self, start: u32, number: u32, span: Span) {
        self.record(start, number, span.start);
        self.record(start, number + 1, span.end);
    }

    /// Whether the free run at `start` is a long one.
    #[inline]
    fn is_long(&self, start: u32) -> bool {
        self.tag(start).load(Relaxed) >> 2 >= LONG
    }

    fn tag(&self, page: u32) -> &AtomicU32 {
        // SAFETY: G1, the table covers every committed page.
        unsafe { self.tags.add(page as usize).as_ref() }
    }

    fn free_run(&self, page: u32) -> NonNull<FreeRun> {
        self.descriptor(page).cast()
    }
}

/// A link as it is in tags.
#[inline]
fn link(run: u32) -> u32 {
    if run == NIL { NO_RUN } else { run + 1 }
}

/// What a link in tags leads to.
#[inline]
fn linked(link: u32) -> u32 {
    if link == NO_RUN { NIL } else { link - 1 }
}

/// The engine's view of a region's tables, under the lock of the region set.
pub(crate) struct Pages {
    pub tables: Tables,
    /// The watermark: pages from here on were never part of a run.
    pub top: u32,
}

// SAFETY: tags are written at both ends of a run and cleared by `unmark`, so
// the two look-ups see the last marking; `FreeRun` fields are stored as given.
unsafe impl Granules for Pages {
    #[inline]
    fn free_run_ending_at(&self, end: u32) -> Option<u32> {
        self.tables.free_run_at(end.checked_sub(1)?).map(|len| end - len)
    }

    #[inline]
    fn free_run_at(&self, start: u32) -> Option<u32> {
        if start < self.top { self.tables.free_run_at(start) } else { None }
    }

    #[inline]
    fn unmark(&self, start: u32, len: u32) {
        if len >= LONG && self.tables.free_run_at(start).is_some() {
            (0..RECORD).for_each(|number| self.tables.record(start, number, 0));
        }
        self.tables.tag(start).store(0, Relaxed);
        self.tables.tag(start + len - 1).store(0, Relaxed);
    }

    #[inline]
    fn mark_free(&self, start: u32, len: u32) {
        self.tables.tag(start).store(len << 2 | FREE, Relaxed);
        self.tables.tag(start + len - 1).store(len << 2 | FREE, Relaxed);
    }

    #[inline]
    fn mark_used(&self, start: u32, len: u32) {
        self.tables.tag(start + len - 1).store(len << 2 | USED_TAIL, Relaxed);
        // Last: a run of one page has one tag, and it is a head.
        self.tables.tag(start).store(len << 2 | USED_HEAD, Relaxed);
    }

    #[inline]
    fn links(&self, start: u32) -> (u32, u32) {
        let tables = &self.tables;
        if tables.is_long(start) {
            return (linked(tables.recorded(start, 0)), linked(tables.recorded(start, 1)));
        }
        // SAFETY: G1 and G2, the descriptor of a free run's head is the
        // engine's, which runs under the set's lock.
        let run = unsafe { self.tables.free_run(start).as_ref() };
        (run.next, run.previous)
    }

    #[inline]
    fn set_links(&self, start: u32, next: u32, previous: u32) {
        if self.tables.is_long(start) {
            self.tables.record(start, 0, link(next));
            self.tables.record(start, 1, link(previous));
            return;
        }
        // SAFETY: as in `links`; no reference to it is alive.
        let run = unsafe { self.tables.free_run(start).as_mut() };
        run.next = next;
        run.previous = previous;
    }

    #[inline]
    fn stamp(&self, start: u32) -> Stamp {
        let tables = &self.tables;
        if tables.is_long(start) {
            return Stamp {
                since: tables.recorded(start, 3) << 16 | tables.recorded(start, 2),
                dirty: tables.recorded_span(start, 4),
                resident: tables.recorded_span(start, 6),
            };
        }
        // SAFETY: as in `links`.
        let run = unsafe { self.tables.free_run(start).as_ref() };
        Stamp { dirty: run.dirty, resident: run.resident, since: run.since }
    }

    #[inline]
    fn set_stamp(&self, start: u32, stamp: Stamp) {
        let tables = &self.tables;
        if tables.is_long(start) {
            tables.record(start, 2, stamp.since & 0xffff);
            tables.record(start, 3, stamp.since >> 16);
            tables.record_span(start, 4, stamp.dirty);
            tables.record_span(start, 6, stamp.resident);
            return;
        }
        // SAFETY: as in `links`; no reference to it is alive.
        let run = unsafe { self.tables.free_run(start).as_mut() };
        run.since = stamp.since;
        run.dirty = stamp.dirty;
        run.resident = stamp.resident;
    }
}
