//! The checked tiers: every call is verified before it reaches the heap.
//!
//! A heap in such a tier gives out blocks with a header before them, and in
//! [`Tier::Full`] a tail behind them, inside of *raw* blocks that are ordinary
//! ones of the heap: nothing below knows of it. Hits do not happen (the front
//! end is closed to them, or the configuration says so), and the doors' slow
//! paths come here.
//!
//! ```text
//! alloc  raw block ─ header: live ─ tail
//! free   header: live? size and alignment as said? tail whole? ─ header: freed
//!        ├ moderate: raw free
//!        └ full: poison ─ quarantine ─ … ─ poison whole? ─ raw free
//! ```
//!
//! Blocks that were given out before the tier was known (by a C library that
//! sets itself up) are raw ones, and all lie below the end that the heap had
//! then. H1: at and above that address every block that is out has a header.
//!
//! Large blocks in [`Tier::Full`] lie between guard pages, and wait in quarantine
//! as inaccessible memory.
//!
//! - [`header`]: what stands before a block;
//! - [`guarded`]: large blocks between guard pages;
//! - `moderate`: the common calls in few instructions;
//! - [`quarantine`]: where freed blocks wait;
//! - `realloc`: other sizes for blocks.

mod guarded;
mod header;
mod moderate;
pub(crate) mod quarantine;
mod realloc;

use crate::base::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::base::sync::{Count, Update};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use self::guarded::{Guarded, WAITING, slack};
use self::header::{ALIGN, Block, HEADER, Header, State};
use self::quarantine::{Quarantine, none_out};
use super::Heap;
use super::alloc::Fill;
use crate::base::bytes::is_all;
use crate::base::class::{Class, TABLED};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::origin::{Caller, Origin};
use crate::base::tier::Tier;
use crate::base::units::PAGE_SIZE;
use crate::cache::FrontEnd;

/// Bytes behind a block that are verified when it is freed.
const TAIL: usize = 16;
/// What they hold.
const CANARY: u8 = 0xc9;
/// What freed blocks hold, and how much of them at most.
const POISON: u8 = 0xdf;
const POISONED: usize = 64 << 10;

/// Bytes of freed blocks that wait at most.
const QUARANTINED: usize = 4 << 20;

/// What a heap in a checked tier has besides.
pub(crate) struct Checks<C: Config> {
    /// Seals the headers; 0 before the first.
    key: AtomicUsize,
    /// The same in [`Tier::Moderate`] from the first checked call on, else 0.
    moderate_key: AtomicUsize,
    /// Below this address there may be raw blocks (H1); 0 before it is known.
    raw_below: AtomicUsize,
    /// Whether there has been a guarded block.
    has_guards: AtomicBool,
    pub(crate) quarantine: Quarantine<C>,
    /// Of inaccessible blocks.
    pub(crate) hidden: Quarantine<C>,
}

/// A live block that has been verified.
struct Found<'a> {
    header: Header,
    block: Block,
    guarded: Option<Guarded<'a>>,
}

impl<C: Config> Checks<C> {
    pub(crate) const fn new() -> Self {
        Self {
            key: AtomicUsize::new(0),
            moderate_key: AtomicUsize::new(0),
            raw_below: AtomicUsize::new(0),
            has_guards: AtomicBool::new(false),
            quarantine: Quarantine::new(QUARANTINED),
            hidden: Quarantine::new(WAITING),
        }
    }

    /// The key of the heap's headers, made at the first use.
    #[inline(always)]
    fn key(&self) -> usize {
        match self.key.load(Relaxed) {
            0 => self.make_key(),
            key => key,
        }
    }

    #[cold]
    #[inline(never)]
    fn make_key(&self) -> usize {
        let key = (C::Env::random() as usize ^ turn::<C>()) | 1;
        // Relaxed: whoever comes first decides; a number hands nothing over.
        self.key.compare_exchange_in::<C::Env>(0, key, Relaxed).err().unwrap_or(key)
    }
}

/// Another number for each key: the environment's may be one for the whole process, and
/// memory of a heap that has ended, its headers sealed as live, may be a later one's.
fn turn<C: Config>() -> usize {
    #[cfg(not(loom))]
    static TURN: AtomicUsize = AtomicUsize::new(0);
    // Models make one heap each; statics do not begin anew for them.
    #[cfg(loom)]
    let turn = AtomicUsize::new(0);
    #[cfg(not(loom))]
    let turn = &TURN;
    // Relaxed: a number hands nothing over. Spread over the word after Fibonacci (Knuth,
    // The Art of Computer Programming 3, 6.4).
    let turn = turn.fetch_add_in::<C::Env>(1, Relaxed);
    turn.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize)
}

fn tail(tier: Tier) -> usize {
    if tier == Tier::Full { TAIL } else { 0 }
}

impl<C: Config> Heap<C> {
    /// Whether every call is checked.
    #[inline(always)]
    pub(super) fn checks_calls() -> bool {
        C::MAX_TIER.checks_calls() && C::tier().checks_calls()
    }

    /// Allocates a block with a header.
    #[inline(never)]
    pub(super) fn alloc_checked(&self, layout: Layout, fill: Fill, caller: Caller) -> *mut u8 {
        if self.checks.raw_below.load(Relaxed) == 0 {
            self.begin_checks();
        }
        let size = layout.size();
        let hit = match layout.align() <= ALIGN {
            // SAFETY: as just tested.
            true if size < TABLED => unsafe { self.pop_checked(size, caller) },
            true => self.pop_checked_medium(size, caller),
            false => null_mut(),
        };
        if hit.is_null() {
            return self.alloc_dressed(layout, fill, caller);
        }
        if fill == Fill::Zero {
            // SAFETY: a block of so many bytes.
            unsafe { hit.write_bytes(0, size) };
        }
        hit
    }

    /// The long way.
    #[inline(never)]
    fn alloc_dressed(&self, layout: Layout, fill: Fill, caller: Caller) -> *mut u8 {
        let (tier, block) = (C::tier(), Block::of(layout));
        let guarded = self.guarded_layout(block, tier);
        let raw_layout = guarded.or_else(|| block.raw_layout(tail(tier)));
        let Some(raw_layout) = raw_layout else { return null_mut() };
        let Some(raw) = NonNull::new(self.alloc_raw(raw_layout, fill)) else { return null_mut() };
        let by = by::<C>(caller);
        if guarded.is_some() {
            self.dress(self.guard(raw, block, by), block, slack(block), by)
        } else {
            // SAFETY: the raw block is ours, as long as head and block.
            self.dress(unsafe { raw.add(block.head()) }, block, tail(tier), by)
        }
    }

    /// The same without waiting for anybody.
    #[cold]
    pub(super) fn alloc_nolock_checked(&self, layout: Layout) -> *mut u8 {
        let (tier, block) = (C::tier(), Block::of(layout));
        let Some(raw_layout) = block.raw_layout(tail(tier)) else { return null_mut() };
        let raw = NonNull::new(self.alloc_nolock_raw(raw_layout));
        let Some(raw) = raw else { return null_mut() };
        // SAFETY: the raw block is ours, as long as head and block.
        let pointer = unsafe { raw.add(block.head()) };
        self.dress(pointer, block, tail(tier), by::<C>(Caller::UNKNOWN))
    }

    /// Makes a block of its place: header and `tail` bytes behind it.
    #[inline]
    fn dress(&self, pointer: NonNull<u8>, block: Block, tail: usize, by: Origin) -> *mut u8 {
        // SAFETY: the place is ours, and has room for a header before it.
        let header = unsafe { Header::of(pointer, self.checks.key()) };
        if !header.renew(block, by) {
            // Two have it now.
            self.fault(FaultKind::Corrupted, pointer);
        }
        // SAFETY: as above, and for the tail behind it.
        unsafe { pointer.add(block.size).write_bytes(CANARY, tail) };
        pointer.as_ptr()
    }

    /// Frees a block after it has been verified, with its layout if the
    /// caller was told.
    #[inline(never)]
    pub(super) fn free_checked(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        caller: Caller,
    ) {
        if !self.free_moderate(pointer.as_ptr(), layout, caller) {
            self.free_verified(pointer, layout, caller);
        }
    }

    /// The long way.
    #[inline(never)]
    fn free_verified(&self, pointer: NonNull<u8>, layout: Option<Layout>, caller: Caller) {
        let tier = C::tier();
        let Some(Found { header, block, guarded }) = self.verify(pointer, layout, tier) else {
            return self.free_raw(pointer);
        };
        let by = by::<C>(caller);
        if !header.retire::<C::Env>(block, by) {
            self.fault_of(FaultKind::DoubleFree, pointer, header);
        }
        if tier != Tier::Full {
            return self.release(pointer, block);
        }
        let cache = &self.cache;
        if let Some(guarded) = guarded {
            let (out, bytes) = (none_out(), guarded.bytes());
            let waits = self.hide(guarded, by)
                && self.checks.hidden.push(cache, &self.lower, pointer, bytes, &out);
            if !waits {
                self.release_guarded(guarded);
            }
            for block in out {
                if let Some(block) = NonNull::new(block.into_inner()) {
                    self.leave_hidden(block);
                }
            }
            return;
        }
        // SAFETY: the block was the caller's until now.
        unsafe { pointer.write_bytes(POISON, block.size.min(POISONED)) };
        // With what is before it for its alignment, and behind.
        let bytes = block.raw_layout(tail(tier)).map_or(usize::MAX, |raw| raw.size());
        let out = none_out();
        if !self.checks.quarantine.push(cache, &self.lower, pointer, bytes, &out) {
            self.release(pointer, block);
        }
        for block in out {
            if let Some(block) = NonNull::new(block.into_inner()) {
                self.leave_quarantine(block);
            }
        }
    }

    /// Frees a block that has waited, if nobody has written to it.
    fn leave_quarantine(&self, pointer: NonNull<u8>) {
        // SAFETY: a block of ours, with its header before it.
        let header = unsafe { Header::of(pointer, self.checks.key()) };
        let Some((block, State::Freed)) = header.read() else {
            self.fault(FaultKind::WrittenAfterFree, pointer);
        };
        let poisoned = block.size.min(POISONED);
        // SAFETY: the block is ours; whoever still writes to it is what is
        // looked for.
        let bytes = unsafe { core::slice::from_raw_parts(pointer.as_ptr(), poisoned) };
        if !is_all(bytes, POISON) {
            self.fault_of(FaultKind::WrittenAfterFree, pointer, header);
        }
        self.release(pointer, block);
    }

    /// Frees an inaccessible block that has waited.
    fn leave_hidden(&self, pointer: NonNull<u8>) {
        match self.guarded_at(pointer.as_ptr()) {
            Some(guarded) => self.release_guarded(guarded),
            None => self.fault(FaultKind::Corrupted, pointer),
        }
    }

    /// Lets all blocks go that wait.
    pub(super) fn empty_quarantine(&self) {
        while let Some(block) = self.checks.quarantine.pop() {
            self.leave_quarantine(block);
        }
        while let Some(block) = self.checks.hidden.pop() {
            self.leave_hidden(block);
        }
    }

    /// Gives the raw block of a freed one back.
    #[inline]
    fn release(&self, pointer: NonNull<u8>, block: Block) {
        // SAFETY: the raw block begins so far before.
        let raw = unsafe { pointer.sub(block.head()) };
        self.free_raw(raw);
    }

    /// Gives the raw run of a guarded block back.
    fn release_guarded(&self, guarded: Guarded<'_>) {
        if let Some(raw) = self.unguard(guarded) {
            self.free_raw(raw);
        }
    }

    /// A live block; `None` for a raw one from before the tier was known (H1).
    /// Anything else is a fault.
    #[inline]
    fn verify(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        tier: Tier,
    ) -> Option<Found<'_>> {
        let guarded = if tier == Tier::Full { self.guarded_at(pointer.as_ptr()) } else { None };
        if let Some(guarded) = guarded
            && (!guarded.is(pointer) || guarded.state == State::Freed)
        {
            C::Env::fatal(match guarded.is(pointer) {
                true => guarded.fault(FaultKind::DoubleFree),
                false => self.lower.regions.fault_at(FaultKind::InvalidPointer, pointer.as_ptr()),
            });
        }
        let may_be_raw = pointer.addr().get() < self.checks.raw_below.load(Relaxed);
        let Some(header) = self.header_of(pointer) else {
            if may_be_raw && self.lower.regions.locate(pointer.as_ptr()).is_some() {
                return None;
            }
            self.fault(FaultKind::InvalidPointer, pointer);
        };
        let block = match header.read() {
            Some((block, State::Live)) => block,
            Some((_, State::Freed)) => self.fault_of(FaultKind::DoubleFree, pointer, header),
            None if may_be_raw => return None,
            None => match guarded {
                Some(guarded) => C::Env::fatal(guarded.fault(FaultKind::WrittenBeforeStart)),
                None => self.fault(self.kind_of_damage(pointer), pointer),
            },
        };
        if layout.is_some_and(|layout| Block::of(layout) != block) {
            self.fault_of(FaultKind::WrongLayout, pointer, header);
        }
        let tail = if guarded.is_some() { slack(block) } else { tail(tier) };
        // SAFETY: a live block has its tail behind it.
        let tail = unsafe { core::slice::from_raw_parts(pointer.add(block.size).as_ptr(), tail) };
        if !is_all(tail, CANARY) {
            self.fault_of(FaultKind::WrittenPastEnd, pointer, header);
        }
        Some(Found { header, block, guarded })
    }

    /// The header that a block at `pointer` would have.
    #[inline]
    fn header_of(&self, pointer: NonNull<u8>) -> Option<Header> {
        let before = |bytes: usize| pointer.as_ptr().wrapping_sub(bytes);
        // Not the block itself: one of no bytes may lie at the end of a region.
        let in_one_page = pointer.addr().get() & (PAGE_SIZE - 1) >= HEADER;
        let ours = pointer.addr().get().is_multiple_of(ALIGN)
            && self.is_in_heap(before(HEADER))
            && (in_one_page || self.is_in_heap(before(1)));
        // SAFETY: aligned; first and last byte are in committed pages of the heap.
        ours.then(|| unsafe { Header::of(pointer, self.checks.key()) })
    }

    #[inline]
    fn is_in_heap(&self, pointer: *const u8) -> bool {
        // SAFETY: a block has been given out, or the directory has no region.
        unsafe { self.lower.regions.first_class_of(pointer) }.is_some()
            || self.lower.regions.locate(pointer).is_some()
    }

    /// What is wrong where a header should be and none is.
    fn kind_of_damage(&self, pointer: NonNull<u8>) -> FaultKind {
        // SAFETY: `header_of` has seen that it is in the heap.
        let raw = unsafe { pointer.sub(HEADER) };
        if self.is_block_start(raw) {
            FaultKind::WrittenBeforeStart
        } else {
            FaultKind::InvalidPointer
        }
    }

    /// Frees a raw block.
    #[inline]
    pub(super) fn free_raw(&self, pointer: NonNull<u8>) {
        // SAFETY: a block has been given out.
        let class = unsafe { self.lower.regions.first_class_of(pointer.as_ptr()) };
        let class = class.unwrap_or_else(|| {
            self.lower.regions.locate(pointer.as_ptr()).map_or(Class::LARGE, |at| at.class())
        });
        // SAFETY: the block's class, and given up.
        if !unsafe { self.lower.front.push(class, pointer.as_ptr()) } {
            self.free_missed(pointer, class);
        }
    }

    /// Verifies a block and gives its raw one to those that were put aside.
    #[cold]
    pub(super) fn free_nolock_checked(&self, pointer: NonNull<u8>, layout: Layout) {
        let raw = match self.verify(pointer, Some(layout), C::tier()) {
            None => pointer,
            Some(Found { header, block, guarded }) => {
                if !header.retire::<C::Env>(block, by::<C>(Caller::UNKNOWN)) {
                    self.fault_of(FaultKind::DoubleFree, pointer, header);
                }
                let raw = match guarded {
                    Some(guarded) => self.unguard(guarded),
                    // SAFETY: the raw block begins so far before.
                    None => Some(unsafe { pointer.sub(block.head()) }),
                };
                let Some(raw) = raw else { return };
                raw
            }
        };
        // SAFETY: the caller gave the block up; raw ones are aligned.
        unsafe { self.cache.deferred.push(raw) };
    }

    /// A fault of the block with this header.
    #[cold]
    fn fault_of(&self, kind: FaultKind, pointer: NonNull<u8>, header: Header) -> ! {
        let mut fault = self.lower.regions.fault_at(kind, pointer.as_ptr());
        if let Some((block, state)) = header.read() {
            let (allocated, freed) = header.origins(state);
            (fault.size, fault.allocated, fault.freed) = (Some(block.size), Some(allocated), freed);
        }
        C::Env::fatal(fault)
    }
}

/// Who calls now.
#[inline]
fn by<C: Config>(caller: Caller) -> Origin {
    Origin { thread: C::Env::thread(), caller }
}

#[cfg(test)]
#[path = "checked_tests.rs"]
mod tests;
