//! Large blocks between guard pages, in [`Tier::Full`](crate::base::tier::Tier).
//!
//! ```text
//! raw run ┌ guard ┬ … ┬ header ┬ block ┬ up to 15 bytes ┬ guard ┐
//!           page                                          a page, and what the
//!                                                         run has more
//! ```
//!
//! A write or a read past the block's last 16 bytes faults, as does one more than
//! a page before it. When the block is freed its memory is given back and all of
//! the run becomes inaccessible, and so waits in a quarantine of its own: a use
//! after free faults.
//!
//! What is known of the block stands in the descriptor of the run's first page,
//! which is its owner's (G2), away from the run: it can be read while that is
//! inaccessible, and by a signal handler. U1: a record whose seal is sound
//! tells of the block in the run that it stands before, from when the block is
//! given out until its run is given back.

use core::alloc::Layout;
use core::ptr::{NonNull, without_provenance};

use super::header::{ALIGN, Block, HEADER, State};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::origin::{Caller, Origin};
use crate::base::sync::Update;
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::base::tier::Tier;
use crate::base::units::PAGE_SIZE;
use crate::heap::Heap;
use crate::provider::{Capabilities, PageProvider};
use crate::region::Located;

/// Blocks of at least so many bytes are guarded.
const LEAST: usize = 32 << 10;

/// Bytes of inaccessible blocks that wait at most, of address space: they have
/// no memory behind them.
pub(super) const WAITING: usize = 256 << 20;

/// What a record's seal is mixed with.
const LIVE: usize = 0x11e5_0001;
const FREED: usize = 0xf4ee_d002;

/// What is known of a guarded block.
#[repr(C)]
pub(super) struct Record {
    seal: AtomicUsize,
    block: AtomicUsize,
    size: AtomicUsize,
    allocated: AtomicUsize,
    freed: AtomicUsize,
    allocated_thread: AtomicU32,
    freed_thread: AtomicU32,
}

static_assertions::const_assert!(size_of::<Record>() <= crate::region::DESCRIPTOR_BYTES);

/// A guarded block, by its record.
#[derive(Clone, Copy)]
pub(super) struct Guarded<'a> {
    record: &'a Record,
    /// The run's first byte.
    raw: NonNull<u8>,
    /// Its bytes, in machine pages.
    bytes: usize,
    /// What can be done with its pages.
    can: Capabilities,
    pub(super) state: State,
}

impl Record {
    fn seal(&self, key: usize, state: usize) -> usize {
        // Relaxed, as all of a record: it follows its block.
        let block = self.block.load(Relaxed) ^ key;
        (block.wrapping_mul(0x9e37_79b1) ^ self.size.load(Relaxed)).wrapping_mul(0xc2b2_ae35)
            ^ state
    }

    fn state(&self, key: usize) -> Option<State> {
        match self.seal.load(Relaxed) ^ self.seal(key, 0) {
            LIVE => Some(State::Live),
            FREED => Some(State::Freed),
            _ => None,
        }
    }
}

impl Guarded<'_> {
    /// Bytes of the whole run.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is the block that starts here.
    pub(super) fn is(&self, pointer: NonNull<u8>) -> bool {
        self.record.block.load(Relaxed) == pointer.addr().get()
    }

    /// What there is to report.
    pub(super) fn fault(&self, kind: FaultKind) -> Fault {
        let Record { block, size, allocated, freed, allocated_thread, freed_thread, .. } =
            self.record;
        let origin = |thread: &AtomicU32, caller: &AtomicUsize| Origin {
            thread: thread.load(Relaxed),
            caller: Caller(caller.load(Relaxed)),
        };
        let freed = (self.state == State::Freed).then(|| origin(freed_thread, freed));
        Fault {
            size: Some(size.load(Relaxed)),
            allocated: Some(origin(allocated_thread, allocated)),
            freed,
            ..Fault::new(kind, without_provenance(block.load(Relaxed)))
        }
    }
}

/// Bytes between a block and the guard behind it, and from the guard before it.
fn body(block: Block, page: usize) -> usize {
    (HEADER + padded(block)).next_multiple_of(page)
}

/// A block's size with what its alignment leaves behind it.
fn padded(block: Block) -> usize {
    block.size.next_multiple_of(block.align())
}

/// Bytes behind a guarded block up to the guard.
pub(super) fn slack(block: Block) -> usize {
    padded(block) - block.size
}

impl<C: Config> Heap<C> {
    /// The layout of the raw run of a block that is to be guarded.
    pub(super) fn guarded_layout(&self, block: Block, tier: Tier) -> Option<Layout> {
        if tier != Tier::Full || block.size < LEAST {
            return None;
        }
        let page = self.guard_bytes();
        let able = self.lower.provider.capabilities().contains(Capabilities::PROTECT);
        // Sizes that no raw block can have are left to the ordinary way.
        (able && block.align() <= page && block.raw_layout(2 * page).is_some())
            .then(|| Layout::from_size_align(body(block, page) + 2 * page, page).ok())?
    }

    /// Makes a guarded block in a raw run of its layout: the place of the block,
    /// whose header and slack are still to be written.
    pub(super) fn guard(&self, raw: NonNull<u8>, block: Block, by: Origin) -> NonNull<u8> {
        let page = self.guard_bytes();
        let end = page + body(block, page);
        // SAFETY: inside the run, of the layout above.
        let (pointer, behind) = unsafe { (raw.add(end - padded(block)), raw.add(end)) };
        if let Some(at) = self.lower.regions.locate(raw.as_ptr()) {
            let record = record(at);
            record.block.store(pointer.addr().get(), Relaxed);
            record.size.store(block.size, Relaxed);
            record.allocated.store(by.caller.0, Relaxed);
            record.allocated_thread.store(by.thread, Relaxed);
            record.seal.store(record.seal(self.checks.key(), LIVE), Relaxed);
            if at.capabilities().contains(Capabilities::PROTECT) {
                if !self.checks.has_guards.swap_in::<C::Env>(true, Relaxed) {
                    C::Env::guards_begin();
                }
                let rest = self.run_bytes(at).saturating_sub(end).max(page);
                // SAFETY: committed pages of the run, which is ours; what is
                // refused is no guard.
                let _ = unsafe {
                    (
                        self.lower.provider.protect(raw, page),
                        self.lower.provider.protect(behind, rest),
                    )
                };
            }
        }
        pointer
    }

    /// The guarded block in the run that `address` is in. Reads tables alone:
    /// from any context, also while nothing else of the run can be read.
    pub(super) fn guarded_at(&self, address: *const u8) -> Option<Guarded<'_>> {
        let at = self.lower.regions.locate(address)?;
        if at.class().is_small() {
            return None;
        }
        let start = at.used_run_around()?;
        let record = record(start);
        let state = record.state(self.checks.key())?;
        let (raw, bytes, can) = (start.start(), self.run_bytes(start), start.capabilities());
        Some(Guarded { record, raw, bytes, can, state })
    }

    /// Makes a block that has been freed inaccessible, without memory behind it;
    /// `false` when it stays accessible.
    pub(super) fn hide(&self, guarded: Guarded<'_>, by: Origin) -> bool {
        let Guarded { record, raw, bytes, can, .. } = guarded;
        record.freed.store(by.caller.0, Relaxed);
        record.freed_thread.store(by.thread, Relaxed);
        record.seal.store(record.seal(self.checks.key(), FREED), Relaxed);
        let page = self.guard_bytes();
        // Behind the block's last bytes is the guard.
        let end = record.block.load(Relaxed) + record.size.load(Relaxed);
        let inner = end.next_multiple_of(page) - raw.addr().get() - page;
        // SAFETY: the run is committed and its contents nobody's; what is between
        // the guards is accessible until then. What is not purged keeps its memory.
        unsafe {
            if can.contains(Capabilities::PURGE) {
                let _ = self.lower.provider.purge(raw.add(page), inner);
            }
            can.contains(Capabilities::PROTECT) && self.lower.provider.protect(raw, bytes).is_ok()
        }
    }

    /// Ends a guarded block: its raw run, accessible again; `None` when it
    /// stays inaccessible, and is lost.
    pub(super) fn unguard(&self, guarded: Guarded<'_>) -> Option<NonNull<u8>> {
        let Guarded { record, raw, bytes, can, .. } = guarded;
        if can.contains(Capabilities::PROTECT) {
            // SAFETY: committed pages of the run.
            unsafe { self.lower.provider.unprotect(raw, bytes) }.ok()?;
        }
        record.seal.store(0, Relaxed);
        Some(raw)
    }

    /// Bytes of a guard.
    fn guard_bytes(&self) -> usize {
        self.lower.provider.page_size().max(PAGE_SIZE)
    }

    /// Bytes of the run that starts at a page, in machine pages.
    fn run_bytes(&self, start: Located<'_>) -> usize {
        let bytes = start.run().map_or(0, |pages| pages.bytes());
        bytes - bytes % self.guard_bytes()
    }

    /// What an access means that has faulted at an address in a guarded run.
    pub(in crate::heap) fn explain_guarded(&self, address: usize) -> Option<Fault> {
        let guarded = self.guarded_at(without_provenance(address))?;
        let block = guarded.record.block.load(Relaxed);
        let kind = match guarded.state {
            State::Freed => FaultKind::UsedAfterFree,
            State::Live if address < block => FaultKind::BeforeStart,
            State::Live => FaultKind::PastEnd,
        };
        Some(Fault { accessed: Some(address), ..guarded.fault(kind) })
    }
}

/// The record of the run that starts at a page, whatever it holds.
fn record(start: Located<'_>) -> &Record {
    const { assert!(ALIGN >= align_of::<Record>()) };
    // SAFETY: G1, the descriptor of a committed page, aligned as ALIGN; any bytes
    // are numbers.
    unsafe { start.descriptor().cast().as_ref() }
}
