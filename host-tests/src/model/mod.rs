//! A shadow of a heap: what a program may believe about its blocks, checked
//! at every step.
//!
//! The shadow knows every live block: that none overlaps another, that each
//! is aligned and as large as asked, that its contents are what was written.
//! At rest it adds up the heap's own counts against its own.

pub mod faulty;
pub mod fixtures;
pub mod script;

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use granule_core::{Config, Heap};

/// A live block and what was written to it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// First byte.
    pub start: NonNull<u8>,
    /// What it was asked for with.
    pub layout: Layout,
    seed: u8,
}

// SAFETY: a block is memory that whoever has the value may use.
unsafe impl Send for Block {}

/// Bytes at both ends that are always written and compared.
const EDGE: usize = 128;

impl Block {
    /// Offsets below `end` that are written and compared: both ends, and one
    /// byte a page.
    fn offsets(&self, end: usize) -> impl Iterator<Item = usize> {
        let len = self.layout.size();
        let tail = len.saturating_sub(EDGE).max(EDGE.min(len));
        let middle = (EDGE..tail).step_by(4096);
        (0..EDGE.min(len)).chain(middle).chain(tail..len).filter(move |&offset| offset < end)
    }

    fn value(&self, offset: usize) -> u8 {
        self.seed.wrapping_add((offset as u8).wrapping_mul(31))
    }

    fn fill(&self) {
        for offset in self.offsets(usize::MAX) {
            // SAFETY: the block is live and of that size.
            unsafe { self.start.add(offset).write(self.value(offset)) };
        }
    }

    /// Fails unless the first `len` bytes are as they were written.
    ///
    /// # Panics
    ///
    /// When they are not.
    pub fn verify(&self, len: usize) {
        for offset in self.offsets(len) {
            // SAFETY: the block is live and of that size.
            let found = unsafe { self.start.add(offset).read() };
            assert_eq!(found, self.value(offset), "{self:?} at {offset}");
        }
    }

    fn address(&self) -> usize {
        self.start.addr().get()
    }
}

/// What a new block has to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Anything.
    Any,
    /// Zero.
    Zero,
    /// Anything, by the call that never waits and may fail at any time.
    NoLock,
}

/// How a block is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// With its layout.
    Sized,
    /// With nothing but its address.
    Unsized,
    /// With its layout, by the call that never waits.
    NoLock,
}

/// The shadow of a heap, or of the part of it that one thread uses.
pub struct Shadow<'h, C: Config> {
    heap: &'h Heap<C>,
    live: BTreeMap<usize, Block>,
    seed: u8,
}

impl<C: Config> std::fmt::Debug for Shadow<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("live", &self.live.len()).finish_non_exhaustive()
    }
}

impl<'h, C: Config> Shadow<'h, C> {
    /// The shadow of a heap of which it knows no block.
    pub fn new(heap: &'h Heap<C>) -> Self {
        Self { heap, live: BTreeMap::new(), seed: 0 }
    }

    /// Live blocks.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The block with the `number`-th lowest address, modulo their number.
    fn nth(&self, number: usize) -> Option<Block> {
        let number = number.checked_rem(self.live.len())?;
        self.live.values().nth(number).copied()
    }

    /// Allocates; whether there was memory.
    pub fn alloc(&mut self, layout: Layout, fill: Fill) -> bool {
        let start = match fill {
            Fill::Any => self.heap.alloc(layout),
            Fill::Zero => self.heap.alloc_zeroed(layout),
            Fill::NoLock => self.heap.try_alloc_nolock(layout),
        };
        let Some(start) = NonNull::new(start) else { return false };
        if fill == Fill::Zero {
            // SAFETY: the block is live and of that size.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{layout:?} is not zero");
        }
        self.seed = self.seed.wrapping_add(97);
        self.enter(Block { start, layout, seed: self.seed });
        true
    }

    /// Takes a new block, or one of another shadow of the same heap.
    pub fn enter(&mut self, block: Block) {
        let Block { layout, .. } = block;
        let (start, size) = (block.address(), layout.size().max(1));
        assert!(start.is_multiple_of(layout.align()), "{block:?} is not aligned");
        assert!(self.heap.usable_size(block.start) >= Some(size), "{block:?} is too small");
        let below = self.live.range(..=start).next_back().map(|(_, block)| block);
        if let Some(below) = below {
            assert!(below.address() + below.layout.size().max(1) <= start, "{below:?} {block:?}");
        }
        if let Some((&above, _)) = self.live.range(start + 1..).next() {
            assert!(start + size <= above, "{block:?} reaches {above:#x}");
        }
        block.fill();
        self.live.insert(start, block);
    }

    /// Gives a block away, verified and still live; `None` when there is none.
    pub fn leave(&mut self, number: usize) -> Option<Block> {
        let block = self.nth(number)?;
        block.verify(usize::MAX);
        self.live.remove(&block.address())
    }

    /// Frees a block, if there is one.
    pub fn free(&mut self, number: usize, how: Free) {
        let Some(Block { start, layout, .. }) = self.leave(number) else { return };
        // SAFETY: the block is live, of this heap and layout, and forgotten.
        unsafe {
            match how {
                Free::Sized => self.heap.dealloc(start, layout),
                Free::Unsized => self.heap.free(start),
                Free::NoLock => self.heap.dealloc_nolock(start, layout),
            }
        }
    }

    /// Reallocates a block, if there is one; whether there was memory. When
    /// not, the block has to be as it was.
    pub fn realloc(&mut self, number: usize, size: usize) -> bool {
        let Some(old) = self.nth(number) else { return true };
        old.verify(usize::MAX);
        // SAFETY: the block is live and of this heap and layout.
        let moved = unsafe { self.heap.realloc(old.start, old.layout, size) };
        let Some(start) = NonNull::new(moved) else {
            old.verify(usize::MAX);
            return false;
        };
        self.live.remove(&old.address());
        let kept = Block { start, ..old };
        kept.verify(size);
        let layout = Layout::from_size_align(size, old.layout.align()).expect("a valid layout");
        self.seed = self.seed.wrapping_add(97);
        self.enter(Block { start, layout, seed: self.seed });
        true
    }

    /// Frees everything, in an order that `turn` decides.
    pub fn free_all(&mut self, turn: usize) {
        let mut number = turn;
        while !self.is_empty() {
            self.free(number, if number.is_multiple_of(3) { Free::Unsized } else { Free::Sized });
            number = number.wrapping_mul(5).wrapping_add(turn | 1);
        }
    }

    /// Bytes that the heap must count as live.
    pub fn live_bytes(&self) -> usize {
        let usable = |block: &Block| self.heap.usable_size(block.start).expect("a live block");
        self.live.values().map(usable).sum()
    }

    /// Checks the heap's counts against the shadow's. Nobody else may be
    /// using the heap.
    ///
    /// # Panics
    ///
    /// When they differ.
    pub fn check_counts(&self) {
        // What was put aside counts as live until then.
        self.heap.free_deferred();
        self.heap.check().unwrap_or_else(|violation| panic!("{violation}"));
        let stats = self.heap.stats();
        assert_eq!(stats.live_bytes(), self.live_bytes(), "live: {stats:?}");
        // `live_bytes` of small blocks is what is left of the capacity; so
        // that it is neither more nor less than the live ones is the equation
        // live + free + cached = capacity.
        let small =
            |block: &&Block| block.layout.size() <= 32 * 1024 && block.layout.align() <= 4096;
        let usable = |block: &Block| self.heap.usable_size(block.start).unwrap_or(0);
        let live: usize = self.live.values().filter(small).map(usable).sum();
        let runs: usize = self.live.values().filter(|block| !small(block)).map(usable).sum();
        // A small block that was reallocated from a large one may be a run.
        assert!(stats.slab_free_bytes + stats.cached_bytes <= stats.slab_bytes, "{stats:?}");
        assert!(live + runs == stats.live_small_bytes() + stats.large_bytes, "{stats:?}");
    }
}

/// Frees nothing more of a heap's: fails unless all is given back that can be.
///
/// # Panics
///
/// When something is missing.
pub fn check_empty<C: Config>(heap: &Heap<C>) {
    heap.reclaim();
    let seen = heap.check().unwrap_or_else(|violation| panic!("{violation}"));
    let stats = heap.stats();
    assert_eq!((seen.cached, stats.live_bytes()), (0, 0), "{stats:?}");
    assert_eq!((stats.cached_bytes, stats.parked_bytes), (0, 0), "{stats:?}");
    assert_eq!((stats.slabs, stats.slab_bytes, stats.slab_free_bytes), (0, 0, 0), "{stats:?}");
}
