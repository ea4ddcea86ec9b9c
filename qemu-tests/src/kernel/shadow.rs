//! The shadow model: who owns which granule of memory, and what is in it.
//!
//! A bit for every 8 bytes of RAM, set while a block there is live. Two live
//! blocks that overlap, a block outside RAM, or one freed twice turn up at
//! once, on whichever core.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::text::Text;

/// Bytes for each bit.
const GRANULE: usize = 8;
/// RAM that is covered, from its first byte.
const COVERED: usize = 256 << 20;
const WORDS: usize = COVERED / GRANULE / 64;

static LIVE: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Smallest block that can be covered: two words of its own.
pub(crate) const SMALLEST: usize = 16;

/// A live block with its layout, and a pattern inside that depends on both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) start: NonNull<u8>,
    pub(crate) layout: Layout,
}

// SAFETY: a block has one owner, which may hand it on.
unsafe impl Send for Block {}

fn granules(start: NonNull<u8>, bytes: usize) -> Option<core::ops::Range<usize>> {
    let from = start.addr().get().checked_sub(machine::memory::RAM_START)? / GRANULE;
    let range = from..from + bytes.div_ceil(GRANULE);
    (range.end <= WORDS * 64).then_some(range)
}

/// Sets or clears the bits of a range; `false` when one was so already.
fn change(range: core::ops::Range<usize>, live: bool) -> bool {
    let mut at = range.start;
    let mut changed = true;
    while at < range.end {
        let (word, bit) = (at / 64, at % 64);
        let count = (64 - bit).min(range.end - at);
        let mask = (u64::MAX >> (64 - count)) << bit;
        // Relaxed: the bits of a live block are its owner's; owners hand
        // blocks on with Release and Acquire.
        let before = if live {
            LIVE[word].fetch_or(mask, Ordering::Relaxed)
        } else {
            !LIVE[word].fetch_and(!mask, Ordering::Relaxed)
        };
        changed &= before & mask == 0;
        at += count;
    }
    changed
}

impl Block {
    /// A new block: nobody else's, aligned, and filled.
    pub(crate) fn born(start: *mut u8, layout: Layout) -> Result<Self, Text> {
        let fault = |what| Text::of(format_args!("{start:p}, {} bytes: {what}", layout.size()));
        let start = NonNull::new(start).ok_or_else(|| fault("out of memory"))?;
        if !start.addr().get().is_multiple_of(layout.align()) {
            return Err(fault("not aligned"));
        }
        let range = granules(start, layout.size()).ok_or_else(|| fault("not in RAM"))?;
        if !change(range, true) {
            return Err(fault("overlaps a live block"));
        }
        let block = Self { start, layout };
        block.fill();
        Ok(block)
    }

    fn pattern(&self) -> u64 {
        (self.start.addr().get() as u64 ^ self.layout.size() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The first two words, and then every 64th byte's word: enough to see
    /// another block's pattern, without touching all of a large one.
    fn words(&self) -> impl Iterator<Item = NonNull<u64>> + use<> {
        let words = self.layout.size() / 8;
        let start = self.start.cast::<u64>();
        let spread = (0..words).step_by(8).chain([1, words - 1]);
        // SAFETY: inside the block.
        spread.map(move |at| unsafe { start.add(at) })
    }

    fn fill(&self) {
        let pattern = self.pattern();
        // SAFETY: the words are the block's, which is ours; aligned to 8.
        self.words().for_each(|word| unsafe { word.write(pattern) });
    }

    fn fault(&self, what: &str) -> Text {
        Text::of(format_args!("{:p}, {} bytes: {what}", self.start, self.layout.size()))
    }

    /// The block still holds what was written into it.
    pub(crate) fn check(&self) -> Result<(), Text> {
        let pattern = self.pattern();
        // SAFETY: the words are the block's, which is ours.
        let intact = self.words().all(|word| unsafe { word.read() } == pattern);
        if intact { Ok(()) } else { Err(self.fault("somebody wrote to it")) }
    }

    /// The block is about to be freed: intact, and live until now.
    pub(crate) fn dies(&self) -> Result<(), Text> {
        self.check()?;
        match granules(self.start, self.layout.size()) {
            Some(range) if change(range.clone(), false) => Ok(()),
            _ => Err(self.fault("was not live")),
        }
    }

    /// Puts the first two words back, where the owner has written a note.
    pub(crate) fn restore_head(&self) {
        let words = self.start.cast::<u64>();
        // SAFETY: the words are the block's, which is ours; aligned to 8.
        unsafe {
            words.write(self.pattern());
            words.add(1).write(self.pattern());
        }
    }
}
