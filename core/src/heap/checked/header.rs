//! What stands before a block in checked tiers.
//!
//! ```text
//! raw object ┌ … ┬ size ┬ tag ┬ block … ┬ tail …
//!            └ 16 bytes, or the alignment where that is more ┘
//! ```
//!
//! The tag is made of the process's key, the block's address, its size and its
//! state, so that a header tells of one block alone: copied elsewhere, or
//! overwritten, it is none. It keeps accidents out, not an attacker who can read
//! it and the key.

use crate::base::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes of a header; and the least alignment of blocks in checked tiers.
pub(super) const HEADER: usize = 16;

/// The bits of a tag that say how far the block is from its raw object.
const SHIFT_BITS: usize = 0x3f;

/// What a tag is mixed with while its block is freed: no bit of the shift.
const FREED: usize = 0x5a5a_5a40;

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
    /// The block is `1 << shift` bytes into the raw object.
    pub shift: u32,
}

impl Block {
    /// The block of a layout.
    pub(super) fn of(layout: Layout) -> Self {
        Self { size: layout.size(), shift: layout.align().max(HEADER).ilog2() }
    }

    /// The layout of the raw object with `tail` bytes behind the block; `None`
    /// when there can be none.
    pub(super) fn raw_layout(self, tail: usize) -> Option<Layout> {
        let head = 1usize << self.shift;
        let size = head.checked_add(self.size)?.checked_add(tail)?;
        Layout::from_size_align(size, head).ok()
    }

    /// Bytes before the block.
    pub(super) fn head(self) -> usize {
        1 << self.shift
    }
}

/// The two words before a block.
#[derive(Clone, Copy)]
pub(super) struct Header {
    block: NonNull<u8>,
    key: usize,
}

impl Header {
    /// The header of a block.
    ///
    /// # Safety
    ///
    /// Caller: the [`HEADER`] bytes before `block`, which is aligned to as
    /// many, are memory of the heap, now and as long as this is used.
    pub(super) unsafe fn of(block: NonNull<u8>, key: usize) -> Self {
        Self { block, key }
    }

    fn word(&self, before: usize) -> &AtomicUsize {
        // SAFETY: by the contract of `of`; aligned, and any bytes are a number.
        unsafe { self.block.sub(before * size_of::<usize>()).cast().as_ref() }
    }

    /// The tag of a block at this address while it is live.
    #[inline]
    fn seal(&self, block: Block) -> usize {
        let place = (self.block.addr().get() ^ self.key).wrapping_mul(0x9e37_79b1);
        let what = block.size ^ (block.shift as usize).wrapping_mul(0x85eb_ca6b);
        let mixed = place.rotate_left(usize::BITS / 2) ^ what ^ self.key;
        let mixed = mixed.wrapping_mul(0xc2b2_ae35);
        mixed & !SHIFT_BITS | block.shift as usize
    }

    /// Writes the header of a live block.
    #[inline]
    pub(super) fn write(&self, block: Block) {
        // Relaxed: a block changes hands by the program's own synchronisation.
        self.word(2).store(block.size, Relaxed);
        self.word(1).store(self.seal(block), Relaxed);
    }

    /// Reads the header; `None` when there is none.
    #[inline]
    pub(super) fn read(&self) -> Option<(Block, State)> {
        let (size, tag) = (self.word(2).load(Relaxed), self.word(1).load(Relaxed));
        let block = Block { size, shift: (tag & SHIFT_BITS) as u32 };
        let state = match self.seal(block) ^ tag {
            0 => State::Live,
            FREED => State::Freed,
            _ => return None,
        };
        (block.shift < usize::BITS).then_some((block, state))
    }

    /// Marks a live block as freed; `false` when somebody else has.
    pub(super) fn retire(&self, block: Block) -> bool {
        let live = self.seal(block);
        self.word(1).compare_exchange(live, live ^ FREED, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Memory([u8; 192]);

    #[test]
    fn a_header_tells_of_its_own_block_alone() {
        let mut memory = Memory([0; 192]);
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        let at = |offset: usize| {
            // SAFETY: inside the memory, sixteen bytes behind its start.
            unsafe { Header::of(start.add(offset), 0x1234_5677) }
        };
        assert_eq!(at(16).read(), None);
        let block = Block { size: 40, shift: 4 };
        at(16).write(block);
        assert_eq!(at(16).read(), Some((block, State::Live)));
        assert!(at(16).retire(block) && !at(16).retire(block));
        assert_eq!(at(16).read(), Some((block, State::Freed)));
        // Copied elsewhere, or read with another key, it is none.
        // SAFETY: both inside the memory, disjoint.
        unsafe { start.copy_to_nonoverlapping(start.add(64), 16) };
        assert_eq!(at(80).read(), None);
        // SAFETY: as above.
        assert_eq!(unsafe { Header::of(start.add(16), 0x1234_5679) }.read(), None);
    }

    #[test]
    fn any_byte_that_is_overwritten_breaks_it() {
        for byte in 0..16 {
            for flip in [1, 0x80, 0xff] {
                let mut memory = Memory([0; 192]);
                let start = NonNull::from(&mut memory.0).cast::<u8>();
                // SAFETY: inside the memory.
                let header = unsafe { Header::of(start.add(32), 77) };
                header.write(Block { size: 1000, shift: 5 });
                // SAFETY: inside the memory.
                unsafe { *start.add(16 + byte).as_ptr() ^= flip };
                let used = byte < 8 || size_of::<usize>() == 8;
                assert_eq!(header.read().is_none(), used || byte >= 8, "{byte} {flip:#x}");
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
            assert!(raw.align() == block.head() && block.head() >= align.max(16));
        }
        assert!(Block { size: isize::MAX as usize, shift: 4 }.raw_layout(0).is_none());
    }
}
