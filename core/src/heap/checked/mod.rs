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
//! - [`header`]: what stands before a block;
//! - [`quarantine`]: where freed blocks wait.

mod header;
pub(crate) mod quarantine;

use crate::base::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use self::header::{Block, HEADER, Header, State};
use self::quarantine::{Quarantine, none_out};
use super::Heap;
use super::alloc::Fill;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::tier::Tier;
use crate::cache::FrontEnd;

/// Bytes behind a block that are verified when it is freed.
const TAIL: usize = 16;
/// What they hold.
const CANARY: u8 = 0xc9;
/// What freed blocks hold, and how much of them at most.
const POISON: u8 = 0xdf;
const POISONED: usize = 64 << 10;

/// What a heap in a checked tier has besides.
pub(crate) struct Checks<C: Config> {
    /// Seals the headers; 0 before the first.
    key: AtomicUsize,
    /// Below this address there may be raw blocks (H1); 0 before it is known.
    raw_below: AtomicUsize,
    pub(crate) quarantine: Quarantine<C>,
}

impl<C: Config> Checks<C> {
    pub(crate) const fn new() -> Self {
        Self {
            key: AtomicUsize::new(0),
            raw_below: AtomicUsize::new(0),
            quarantine: Quarantine::new(),
        }
    }

    /// The key of the heap's headers, made at the first use.
    fn key(&self) -> usize {
        match self.key.load(Relaxed) {
            0 => {
                let key = C::Env::random() as usize | 1;
                // Relaxed: whoever comes first decides; a number hands nothing
                // over.
                self.key.compare_exchange(0, key, Relaxed, Relaxed).err().unwrap_or(key)
            }
            key => key,
        }
    }
}

fn tail(tier: Tier) -> usize {
    if tier == Tier::Full { TAIL } else { 0 }
}

fn holds(bytes: &[u8], value: u8) -> bool {
    bytes.iter().all(|&byte| byte == value)
}

impl<C: Config> Heap<C> {
    /// Whether every call is checked.
    #[inline(always)]
    pub(super) fn checks_calls() -> bool {
        C::MAX_TIER.checks_calls() && C::tier().checks_calls()
    }

    /// Allocates a block with a header.
    #[cold]
    pub(super) fn alloc_checked(&self, layout: Layout, fill: Fill) -> *mut u8 {
        let (tier, block) = (C::tier(), Block::of(layout));
        if self.checks.raw_below.load(Relaxed) == 0 {
            self.checks.raw_below.store(self.regions.first_end().max(1), Relaxed);
        }
        let Some(raw_layout) = block.raw_layout(tail(tier)) else { return null_mut() };
        let raw = NonNull::new(self.alloc_raw(raw_layout, fill));
        raw.map_or(null_mut(), |raw| self.dress(raw, block, tier).as_ptr())
    }

    /// The same without waiting for anybody.
    #[cold]
    pub(super) fn alloc_nolock_checked(&self, layout: Layout) -> *mut u8 {
        let (tier, block) = (C::tier(), Block::of(layout));
        let Some(raw_layout) = block.raw_layout(tail(tier)) else { return null_mut() };
        let raw = NonNull::new(self.alloc_nolock_raw(raw_layout));
        raw.map_or(null_mut(), |raw| self.dress(raw, block, tier).as_ptr())
    }

    /// Makes a block of a raw one: header and tail.
    fn dress(&self, raw: NonNull<u8>, block: Block, tier: Tier) -> NonNull<u8> {
        // SAFETY: the raw block is ours, as long as head, block and tail.
        let (pointer, header) = unsafe {
            let pointer = raw.add(block.head());
            (pointer, Header::of(pointer, self.checks.key()))
        };
        if matches!(header.read(), Some((_, State::Live))) {
            // Two have it now.
            self.fault(FaultKind::Corrupted, pointer);
        }
        header.write(block);
        if tier == Tier::Full {
            // SAFETY: as above.
            unsafe { pointer.add(block.size).write_bytes(CANARY, TAIL) };
        }
        pointer
    }

    /// Frees a block after it has been verified, with its layout if the
    /// caller was told.
    #[cold]
    pub(super) fn free_checked(&self, pointer: NonNull<u8>, layout: Option<Layout>) {
        let Some((header, block)) = self.verify(pointer, layout) else {
            return self.free_raw(pointer);
        };
        if !header.retire(block) {
            self.fault_of(FaultKind::DoubleFree, pointer, block);
        }
        if C::tier() != Tier::Full {
            return self.release(pointer, block);
        }
        // SAFETY: the block was the caller's until now.
        unsafe { pointer.write_bytes(POISON, block.size.min(POISONED)) };
        let out = none_out();
        let (cache, size) = (&self.cache, block.size);
        if !self.checks.quarantine.push(cache, self.lower(), pointer, size, &out) {
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
        if !holds(bytes, POISON) {
            self.fault_of(FaultKind::WrittenAfterFree, pointer, block);
        }
        self.release(pointer, block);
    }

    /// Lets all blocks go that wait.
    pub(super) fn empty_quarantine(&self) {
        while let Some(block) = self.checks.quarantine.pop() {
            self.leave_quarantine(block);
        }
    }

    /// Gives the raw block of a freed one back.
    fn release(&self, pointer: NonNull<u8>, block: Block) {
        // SAFETY: the raw block begins so far before.
        let raw = unsafe { pointer.sub(block.head()) };
        self.free_raw(raw);
    }

    /// The header and size of a live block; `None` for a raw one from before
    /// the tier was known (H1). Anything else is a fault.
    fn verify(&self, pointer: NonNull<u8>, layout: Option<Layout>) -> Option<(Header, Block)> {
        let may_be_raw = pointer.addr().get() < self.checks.raw_below.load(Relaxed);
        let Some(header) = self.header_of(pointer) else {
            if may_be_raw && self.regions.locate(pointer.as_ptr()).is_some() {
                return None;
            }
            self.fault(FaultKind::InvalidPointer, pointer);
        };
        let block = match header.read() {
            Some((block, State::Live)) => block,
            Some((block, State::Freed)) => self.fault_of(FaultKind::DoubleFree, pointer, block),
            None if may_be_raw => return None,
            None => self.fault(self.kind_of_damage(pointer), pointer),
        };
        if layout.is_some_and(|layout| Block::of(layout) != block) {
            self.fault_of(FaultKind::WrongLayout, pointer, block);
        }
        // SAFETY: a live block has its tail behind it.
        let tail = unsafe {
            core::slice::from_raw_parts(pointer.add(block.size).as_ptr(), tail(C::tier()))
        };
        if !holds(tail, CANARY) {
            self.fault_of(FaultKind::WrittenPastEnd, pointer, block);
        }
        Some((header, block))
    }

    /// The header that a block at `pointer` would have.
    #[inline]
    fn header_of(&self, pointer: NonNull<u8>) -> Option<Header> {
        let before = pointer.as_ptr().wrapping_sub(HEADER);
        // Not the block itself: one of no bytes may lie at the end of a region.
        let ours = pointer.addr().get().is_multiple_of(HEADER) && self.is_in_heap(before);
        // SAFETY: aligned, so it lies in one page, which is a committed one of the
        // heap.
        ours.then(|| unsafe { Header::of(pointer, self.checks.key()) })
    }

    #[inline]
    fn is_in_heap(&self, pointer: *const u8) -> bool {
        // SAFETY: a block has been given out, or the directory has no region.
        unsafe { self.regions.first_class_of(pointer) }.is_some()
            || self.regions.locate(pointer).is_some()
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

    /// Makes a block `new_size` bytes large; null when memory is short, and
    /// the block is as it was.
    #[cold]
    pub(super) fn realloc_checked(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        new_size: usize,
    ) -> *mut u8 {
        let Some((header, block)) = self.verify(pointer, layout) else {
            return self.adopt_raw(pointer, new_size);
        };
        let Ok(new) = Layout::from_size_align(new_size, block.head()) else { return null_mut() };
        if C::tier() == Tier::Full || block.head() > HEADER {
            let moved = self.alloc_checked(new, Fill::Any);
            if !moved.is_null() {
                // SAFETY: both are live and large enough.
                unsafe { pointer.as_ptr().copy_to_nonoverlapping(moved, block.size.min(new_size)) };
                self.free_checked(pointer, None);
            }
            return moved;
        }
        let new = Block::of(new);
        let (Some(old_raw), Some(new_raw)) = (block.raw_layout(0), new.raw_layout(0)) else {
            return null_mut();
        };
        // The old place, if it is left, tells that it was freed.
        if !header.retire(block) {
            self.fault_of(FaultKind::DoubleFree, pointer, block);
        }
        // SAFETY: the raw block of a live one, of that layout.
        let raw = unsafe { self.realloc_raw(pointer.sub(HEADER), old_raw, new_raw.size()) };
        match NonNull::new(raw) {
            Some(raw) => {
                // SAFETY: ours, as long as header and block.
                let pointer = unsafe { raw.add(HEADER) };
                // SAFETY: as above.
                let header = unsafe { Header::of(pointer, self.checks.key()) };
                header.write(new);
                pointer.as_ptr()
            }
            None => {
                header.write(block);
                null_mut()
            }
        }
    }

    /// Moves a block from before the tier was known into one with a header.
    fn adopt_raw(&self, pointer: NonNull<u8>, new_size: usize) -> *mut u8 {
        let Some(size) = self.usable_raw(pointer) else {
            self.fault(FaultKind::InvalidPointer, pointer)
        };
        let Ok(new) = Layout::from_size_align(new_size, HEADER) else { return null_mut() };
        let moved = self.alloc_checked(new, Fill::Any);
        if !moved.is_null() {
            // SAFETY: both are live and large enough.
            unsafe { pointer.as_ptr().copy_to_nonoverlapping(moved, size.min(new_size)) };
            self.free_raw(pointer);
        }
        moved
    }

    /// Bytes usable at a live block: those it was asked for with.
    pub(super) fn usable_checked(&self, pointer: NonNull<u8>) -> Option<usize> {
        match self.header_of(pointer).and_then(|header| header.read()) {
            Some((block, State::Live)) => Some(block.size),
            Some((_, State::Freed)) => None,
            None if pointer.addr().get() < self.checks.raw_below.load(Relaxed) => {
                self.usable_raw(pointer)
            }
            None => None,
        }
    }

    /// Frees a raw block.
    pub(super) fn free_raw(&self, pointer: NonNull<u8>) {
        // SAFETY: a block has been given out.
        let class = unsafe { self.regions.first_class_of(pointer.as_ptr()) };
        let class = class.unwrap_or_else(|| {
            self.regions.locate(pointer.as_ptr()).map_or(Class::LARGE, |at| at.class())
        });
        // SAFETY: the block's class, and given up.
        if !unsafe { self.front.push(class, pointer.as_ptr()) } {
            self.free_missed(pointer, class);
        }
    }

    /// Verifies a block and gives its raw one to those that were put aside.
    #[cold]
    pub(super) fn free_nolock_checked(&self, pointer: NonNull<u8>, layout: Layout) {
        let raw = match self.verify(pointer, Some(layout)) {
            None => pointer,
            Some((header, block)) => {
                if !header.retire(block) {
                    self.fault_of(FaultKind::DoubleFree, pointer, block);
                }
                // SAFETY: the raw block begins so far before.
                unsafe { pointer.sub(block.head()) }
            }
        };
        // SAFETY: the caller gave the block up; raw ones are aligned.
        unsafe { self.cache.deferred.push(raw) };
    }

    fn fault_of(&self, kind: FaultKind, pointer: NonNull<u8>, block: Block) -> ! {
        C::Env::fatal(Fault { size: Some(block.size), ..Fault::new(kind, pointer.as_ptr()) })
    }
}

#[cfg(test)]
#[path = "checked_tests.rs"]
mod tests;
