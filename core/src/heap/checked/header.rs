//! What stands before a block in checked tiers.
//!
//! ```text
//! raw object ┌ … ┬ freed by ┬ allocated by ┬ size, thread ┬ tag ┬ block … ┬ tail …
//!            └ four words, or the alignment where that is more ┘
//! ```
//!
//! The tag is made of the process's key, the block's address, its size, alignment
//! and state, so that a header tells of one block alone: copied elsewhere, or
//! overwritten, it is none. It keeps accidents out, not an attacker who can read
//! it and the key. Who called is not sealed. The mix is one widening multiplication
//! whose halves are folded (after wyhash); alignment and state are laid over it, so
//! that one comparison tells a live block of a known alignment.
//!
//! With words of 64 bits the 22 above a size are the thread that allocated (as
//! many as Linux has), and the 16 below the 48 of a caller's address are parts of
//! the thread that freed. With words of 32 bits threads are not known.

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

/// Bits of a block's alignment in a tag, which has them twice.
const SHIFT_BITS: u32 = 6;

/// What is laid over a tag while its block is freed: no bit of the alignment.
const FREED: usize = 0x5a5a_5000;

const WIDE: bool = usize::BITS == 64;

/// The bits of a size.
const SIZE_BITS: u32 = if WIDE { 42 } else { 31 };

/// The bits below a caller's address.
const THREAD_BITS: u32 = if WIDE { 16 } else { 0 };

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

/// The tag of a header that was sound.
#[derive(Clone, Copy)]
pub(super) struct Tag(usize);

const TAG: usize = 1;
const SIZE: usize = 2;
const ALLOCATED: usize = 3;
const FREED_BY: usize = 4;

impl Header {
    /// The header of a block.
    ///
    /// # Safety
    ///
    /// Caller: the [`HEADER`] bytes before `block`, which is aligned as words are,
    /// are memory of the heap, now and as long as this is used.
    #[inline(always)]
    pub(super) unsafe fn of(block: NonNull<u8>, key: usize) -> Self {
        Self { block, key }
    }

    #[inline(always)]
    fn word(&self, before: usize) -> &AtomicUsize {
        // SAFETY: by the contract of `of`; aligned, and any bytes are a number.
        unsafe { self.block.sub(before * size_of::<usize>()).cast().as_ref() }
    }

    /// What the tag of a block at this address with that word of its size is
    /// overlaid on.
    #[inline(always)]
    fn seal(&self, size: usize) -> usize {
        fold(self.block.addr().get() ^ self.key, size ^ self.key)
    }

    /// Writes the header of a live block, unless there is one: two would have it.
    #[inline(always)]
    pub(super) fn renew(&self, block: Block, by: Origin) -> bool {
        // First, because it is out of the way then; who called is not sealed.
        self.word(ALLOCATED).store(caller_and(by.caller, 0), Relaxed);
        let overlaid = self.overlaid().0;
        // In nearly all that are no headers, more than the lowest bits differ.
        if overlaid >> (2 * SHIFT_BITS) == 0 && shift_of(overlaid).is_some() {
            return false;
        }
        // Sizes are below their bits, see `raw_layout`.
        let thread = if WIDE { (by.thread as usize) << (SIZE_BITS % usize::BITS) } else { 0 };
        let size = block.size | thread;
        // Relaxed: a block changes hands by the program's own synchronisation.
        self.word(SIZE).store(size, Relaxed);
        self.word(TAG).store(self.seal(size) ^ overlay(block.shift), Relaxed);
        true
    }

    /// What is overlaid on the seal; anything where there is no header.
    #[inline(always)]
    fn overlaid(&self) -> (usize, usize) {
        let size = self.word(SIZE).load(Relaxed);
        (self.seal(size) ^ self.word(TAG).load(Relaxed), size)
    }

    /// Reads the header; `None` when there is none.
    #[inline]
    pub(super) fn read(&self) -> Option<(Block, State)> {
        let (overlaid, size) = self.overlaid();
        let (shift, state) = match shift_of(overlaid) {
            Some(shift) => (shift, State::Live),
            None => (shift_of(overlaid ^ FREED)?, State::Freed),
        };
        Some((Block { size: low_bits(size, SIZE_BITS), shift }, state))
    }

    /// The size and the tag of the block if it is live and aligned so.
    #[inline(always)]
    pub(super) fn live(&self, shift: u32) -> Option<(usize, Tag)> {
        let (size, tag) = (self.word(SIZE).load(Relaxed), self.word(TAG).load(Relaxed));
        let live = self.seal(size) ^ tag == overlay(shift);
        live.then_some((low_bits(size, SIZE_BITS), Tag(tag)))
    }

    /// Marks a live block as freed; `false` when somebody else has.
    #[inline]
    pub(super) fn retire<E: Environment>(&self, block: Block, by: Origin) -> bool {
        self.live(block.shift).is_some_and(|(_, tag)| self.retire_tagged::<E>(tag, by))
    }

    /// The same, of a block that had this tag when it was [`live`](Self::live), just
    /// now.
    #[inline(always)]
    pub(super) fn retire_tagged<E: Environment>(&self, Tag(live): Tag, by: Origin) -> bool {
        // Relaxed: of two who free it one finds the tag changed; nothing is handed over.
        if !self.word(TAG).replace_seen::<E>(live, live ^ FREED, Relaxed) {
            return false;
        }
        let (low, high) = (by.thread as usize & 0xffff, by.thread as usize >> 16);
        self.word(FREED_BY).store(caller_and(by.caller, low), Relaxed);
        if high != 0 {
            let allocated = Caller(address(self.word(ALLOCATED).load(Relaxed)));
            self.word(ALLOCATED).store(caller_and(allocated, high), Relaxed);
        }
        true
    }

    /// Marks a freed block as live again.
    pub(super) fn revive(&self, block: Block) {
        let seal = self.seal(self.word(SIZE).load(Relaxed));
        self.word(TAG).store(seal ^ overlay(block.shift), Relaxed);
    }

    /// Who allocated the block, and who freed it, if it is `state`.
    pub(super) fn origins(&self, state: State) -> (Origin, Option<Origin>) {
        let [size, allocated, freed] =
            [SIZE, ALLOCATED, FREED_BY].map(|word| self.word(word).load(Relaxed));
        let thread = if WIDE { (size >> (SIZE_BITS % usize::BITS)) as u32 } else { 0 };
        let by = Origin { thread, caller: Caller(address(allocated)) };
        let thread = low_bits(freed, THREAD_BITS) | low_bits(allocated, THREAD_BITS) << 16;
        let freed = Origin { thread: thread as u32, caller: Caller(address(freed)) };
        (by, (state == State::Freed).then_some(freed))
    }
}

#[inline]
const fn low_bits(word: usize, bits: u32) -> usize {
    word & ((1 << bits) - 1)
}

/// A caller's word: its address above, and in wide words `low` below.
#[inline(always)]
const fn caller_and(caller: Caller, low: usize) -> usize {
    if WIDE { caller.0 << THREAD_BITS | low } else { caller.0 }
}

/// The address in a caller's word: kernels have them at the top.
const fn address(word: usize) -> usize {
    (word.cast_signed() >> THREAD_BITS).cast_unsigned()
}

/// What is overlaid on the seal of a live block.
#[inline(always)]
const fn overlay(shift: u32) -> usize {
    shift as usize * (1 + (1 << SHIFT_BITS))
}

/// The alignment that an overlay of a live block says.
#[inline]
const fn shift_of(overlaid: usize) -> Option<u32> {
    let shift = low_bits(overlaid, SHIFT_BITS) as u32;
    if overlay(shift) == overlaid && shift < usize::BITS { Some(shift) } else { None }
}

/// Both halves of the product, one laid over the other.
#[inline(always)]
const fn fold(one: usize, other: usize) -> usize {
    let product = one as u128 * other as u128;
    product as usize ^ (product >> usize::BITS) as usize
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
        assert!(at(32).renew(block, by(1, 2)) && !at(32).renew(block, by(1, 2)));
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
            assert!(header.renew(block, first));
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
                assert!(header.renew(Block { size: 1000, shift: 5 }, by(7, 8)));
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
