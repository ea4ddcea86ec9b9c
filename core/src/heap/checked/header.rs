//! What stands before a block in checked tiers.
//!
//! ```text
//! raw object ┌ … ┬ freed by ┬ allocated by ┬ size, thread ┬ tag ┬ block … ┬ tail …
//!            └ four words, or the alignment where that is more ┘
//! ```
//!
//! The tag is made of the process's key, the block's address, its size and its
//! state, so that a header tells of one block alone: copied elsewhere, or
//! overwritten, it is none. It keeps accidents out, not an attacker who can read
//! it and the key. Who called is not sealed.
//!
//! With words of 64 bits the 22 above a size are the thread that allocated (as
//! many as Linux has), and of an address of a caller the 16 above its lower 48
//! are parts of the thread that freed. With words of 32 bits threads are not
//! known.

use crate::base::sync::Update;
use crate::base::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::alloc::Layout;
use core::ptr::NonNull;

use crate::base::env::Environment;
use crate::base::origin::{Caller, Origin};

/// Bytes of a header.
pub(super) const HEADER: usize = 4 * size_of::<usize>();

/// The least alignment of blocks in checked tiers, which is all a raw object has
/// where no more is asked for.
pub(super) const ALIGN: usize = 16;

/// The bits of a tag that say how a block is aligned.
const SHIFT_BITS: usize = 0x3f;

/// What a tag is mixed with while its block is freed: no bit of the shift.
const FREED: usize = 0x5a5a_5a40;

const WIDE: bool = usize::BITS == 64;

/// The bits of a size.
const SIZE_BITS: u32 = if WIDE { 42 } else { 31 };

/// The bits of a caller's address.
const CALLER_BITS: u32 = if WIDE { 48 } else { 31 };

/// Whether a block is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Freed,
}

/// What a sound header says of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Bytes asked for.
    pub size: usize,
    /// The block is aligned to `1 << shift`.
    pub shift: u32,
}

impl Block {
    /// The block of a layout.
    #[inline]
    pub(super) fn of(layout: Layout) -> Self {
        Self { size: layout.size(), shift: layout.align().max(ALIGN).trailing_zeros() }
    }

    /// The layout of the raw object with `tail` bytes behind the block; `None`
    /// when there can be none.
    #[inline]
    pub(super) fn raw_layout(self, tail: usize) -> Option<Layout> {
        if self.size >= 1 << SIZE_BITS {
            return None;
        }
        let size = self.head().checked_add(self.size)?.checked_add(tail)?;
        Layout::from_size_align(size, self.align()).ok()
    }

    /// What the block is aligned to, in bytes.
    #[inline]
    pub(super) fn align(self) -> usize {
        1 << self.shift
    }

    /// Bytes before the block.
    #[inline]
    pub(super) fn head(self) -> usize {
        self.align().max(HEADER)
    }
}

/// The four words before a block.
#[derive(Clone, Copy)]
pub(super) struct Header {
    block: NonNull<u8>,
    key: usize,
}

const TAG: usize = 1;
const SIZE: usize = 2;
const ALLOCATED: usize = 3;
const FREED_BY: usize = 4;

impl Header {
    /// The header of a block.
    ///
    /// # Safety
    ///
    /// Caller: the [`HEADER`] bytes before `block`, which is aligned to
    /// [`ALIGN`], are memory of the heap, now and as long as this is used.
    #[inline]
    pub(super) unsafe fn of(block: NonNull<u8>, key: usize) -> Self {
        Self { block, key }
    }

    #[inline(always)]
    fn word(&self, before: usize) -> &AtomicUsize {
        // SAFETY: by the contract of `of`; aligned, and any bytes are a number.
        unsafe { self.block.sub(before * size_of::<usize>()).cast().as_ref() }
    }

    /// The tag of a block at this address while it is live, with that word of its
    /// size.
    #[inline(always)]
    fn seal(&self, size: usize, shift: u32) -> usize {
        let place = (self.block.addr().get() ^ self.key).wrapping_mul(0x9e37_79b1);
        let what = size ^ (shift as usize).wrapping_mul(0x85eb_ca6b);
        let mixed = place.rotate_left(usize::BITS / 2) ^ what ^ self.key;
        let mixed = mixed.wrapping_mul(0xc2b2_ae35);
        mixed & !SHIFT_BITS | shift as usize
    }

    /// Writes the header of a live block.
    #[inline(always)]
    pub(super) fn write(&self, block: Block, by: Origin) {
        // Sizes are below their bits, see `raw_layout`.
        let thread = if WIDE { (by.thread as usize) << (SIZE_BITS % usize::BITS) } else { 0 };
        let size = block.size | thread;
        // Relaxed: a block changes hands by the program's own synchronisation.
        self.word(ALLOCATED).store(with_bits(by.caller.0, CALLER_BITS, 0), Relaxed);
        self.word(SIZE).store(size, Relaxed);
        self.word(TAG).store(self.seal(size, block.shift), Relaxed);
    }

    /// Reads the header; `None` when there is none.
    #[inline(always)]
    pub(super) fn read(&self) -> Option<(Block, State)> {
        let (size, tag) = (self.word(SIZE).load(Relaxed), self.word(TAG).load(Relaxed));
        let shift = (tag & SHIFT_BITS) as u32;
        let state = match self.seal(size, shift) ^ tag {
            0 => State::Live,
            FREED => State::Freed,
            _ => return None,
        };
        let block = Block { size: low_bits(size, SIZE_BITS), shift };
        (shift < usize::BITS).then_some((block, state))
    }

    /// The size of the block if it is live and aligned so.
    #[inline(always)]
    pub(super) fn live_size(&self, shift: u32) -> Option<usize> {
        let size = self.word(SIZE).load(Relaxed);
        let live = self.word(TAG).load(Relaxed) == self.seal(size, shift);
        live.then_some(low_bits(size, SIZE_BITS))
    }

    /// Marks a live block as freed; `false` when somebody else has.
    #[inline(always)]
    pub(super) fn retire<E: Environment>(&self, block: Block, by: Origin) -> bool {
        let live = self.seal(self.word(SIZE).load(Relaxed), block.shift);
        if self.word(TAG).compare_exchange_in::<E>(live, live ^ FREED, Relaxed).is_err() {
            return false;
        }
        let (low, high) = (by.thread as usize & 0xffff, by.thread as usize >> 16);
        self.word(FREED_BY).store(with_bits(by.caller.0, CALLER_BITS, low), Relaxed);
        if high != 0 {
            let allocated = self.word(ALLOCATED).load(Relaxed);
            self.word(ALLOCATED).store(with_bits(allocated, CALLER_BITS, high), Relaxed);
        }
        true
    }

    /// Marks a freed block as live again.
    pub(super) fn revive(&self, block: Block) {
        self.word(TAG).store(self.seal(self.word(SIZE).load(Relaxed), block.shift), Relaxed);
    }

    /// Who allocated the block, and who freed it, if it is `state`.
    pub(super) fn origins(&self, state: State) -> (Origin, Option<Origin>) {
        let [size, allocated, freed] =
            [SIZE, ALLOCATED, FREED_BY].map(|word| self.word(word).load(Relaxed));
        let thread = high_bits(size, SIZE_BITS) as u32;
        let by = Origin { thread, caller: Caller(address(allocated)) };
        let thread = high_bits(freed, CALLER_BITS) | high_bits(allocated, CALLER_BITS) << 16;
        let freed = Origin { thread: thread as u32, caller: Caller(address(freed)) };
        (by, (state == State::Freed).then_some(freed))
    }
}

#[inline]
const fn low_bits(word: usize, bits: u32) -> usize {
    word & ((1 << bits) - 1)
}

/// What is above the lower bits; nothing in narrow words.
#[inline]
const fn high_bits(word: usize, bits: u32) -> usize {
    if WIDE { word >> bits } else { 0 }
}

/// A word of lower bits, and in wide words of `high` above them.
#[inline]
const fn with_bits(low: usize, bits: u32, high: usize) -> usize {
    if WIDE { low_bits(low, bits) | high << bits } else { low }
}

/// The address in a caller's word: kernels have them at the top.
const fn address(word: usize) -> usize {
    if !WIDE {
        return word;
    }
    let unused = usize::BITS - CALLER_BITS;
    ((word << unused).cast_signed() >> unused).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::surroundings::TestEnv;

    #[repr(align(64))]
    struct Memory([u8; 192]);

    fn by(thread: u32, caller: usize) -> Origin {
        // Where words are narrow threads are not known.
        Origin { thread: if WIDE { thread } else { 0 }, caller: Caller(caller) }
    }

    #[test]
    fn a_header_tells_of_its_own_block_alone() {
        let mut memory = Memory([0; 192]);
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        let at = |offset: usize| {
            // SAFETY: inside the memory, a header behind its start.
            unsafe { Header::of(start.add(offset), 0x1234_5677) }
        };
        assert_eq!(at(32).read(), None);
        let block = Block { size: 40, shift: 4 };
        at(32).write(block, by(1, 2));
        assert_eq!(at(32).read(), Some((block, State::Live)));
        assert!(
            at(32).retire::<TestEnv>(block, by(3, 4)) && !at(32).retire::<TestEnv>(block, by(5, 6))
        );
        assert_eq!(at(32).read(), Some((block, State::Freed)));
        // Copied elsewhere, or read with another key, it is none.
        // SAFETY: both inside the memory, disjoint.
        unsafe { start.copy_to_nonoverlapping(start.add(64), 32) };
        assert_eq!(at(96).read(), None);
        // SAFETY: as above.
        assert_eq!(unsafe { Header::of(start.add(32), 0x1234_5679) }.read(), None);
        at(32).revive(block);
        assert_eq!(at(32).read(), Some((block, State::Live)));
    }

    #[test]
    fn a_header_tells_who_called() {
        let mut memory = Memory([0; 192]);
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: inside the memory, behind room for a header.
        let header = unsafe { Header::of(start.add(64), 77) };
        let block = Block { size: 40, shift: 4 };
        // The last thread of Linux, and addresses of programs and of kernels.
        let kernel = 0usize.wrapping_sub(0x7fff_0123);
        for (first, second) in
            [(by(1, 0x5555), by(0x3f_ffff, 0x7ff1)), (by(9, kernel), by(70_000, kernel))]
        {
            header.write(block, first);
            assert_eq!(header.origins(State::Live), (first, None));
            assert!(header.retire::<TestEnv>(block, second));
            assert_eq!(header.origins(State::Freed), (first, Some(second)));
        }
    }

    #[test]
    fn any_byte_of_size_and_tag_that_is_overwritten_breaks_it() {
        let words = 2 * size_of::<usize>();
        for byte in 0..words {
            for flip in [1, 0x80, 0xff] {
                let mut memory = Memory([0; 192]);
                let start = NonNull::from(&mut memory.0).cast::<u8>();
                // SAFETY: inside the memory.
                let header = unsafe { Header::of(start.add(64), 77) };
                header.write(Block { size: 1000, shift: 5 }, by(7, 8));
                // SAFETY: inside the memory.
                unsafe { *start.add(64 - words + byte).as_ptr() ^= flip };
                assert!(header.read().is_none(), "{byte} {flip:#x}");
            }
        }
    }

    #[test]
    fn raw_layouts_hold_head_block_and_tail() {
        let layout = |size, align| Layout::from_size_align(size, align).expect("small");
        for (size, align) in [(0, 1), (1, 8), (100, 16), (100, 64), (5000, 8192)] {
            let block = Block::of(layout(size, align));
            let raw = block.raw_layout(16).expect("small");
            assert_eq!(raw.size(), block.head() + size + 16);
            assert!(raw.align() == block.align() && block.align() == align.max(16));
            assert!(block.head().is_multiple_of(align) && block.head() >= HEADER);
        }
        assert!(Block { size: isize::MAX as usize, shift: 4 }.raw_layout(0).is_none());
    }
}
