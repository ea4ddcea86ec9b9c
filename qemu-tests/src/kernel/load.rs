//! Random work on an allocator, watched by the shadow model.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::heap::CPUS;
use super::random::Random;
use super::shadow::{Block, SMALLEST};
use super::text::Text;

/// Allocation and free, however they are done.
pub(crate) trait Allocator: Sync {
    /// Allocates; null when there is nothing.
    fn alloc(&self, layout: Layout) -> *mut u8;

    /// Frees.
    ///
    /// # Safety
    ///
    /// Caller: a live block of that layout.
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout);
}

/// A layout as programs ask for: mostly small, now and then a page and more,
/// rarely aligned.
pub(crate) fn some_layout(random: &mut Random) -> Layout {
    let size = match random.below(64) {
        0 => 1 + random.below(200 << 10),
        1..=4 => 1 + random.below(12 << 10),
        5..=20 => 1 + random.below(1024),
        _ => 1 + random.below(192),
    };
    let align = if random.below(40) == 0 { 16 << random.below(9) } else { 8 };
    // A power of two and a small size: always a layout.
    Layout::from_size_align(size.max(SMALLEST), align).unwrap_or(Layout::new::<[u64; 8]>())
}

/// Places where cores leave blocks for whoever comes by: a block left there
/// goes to the core that leaves the next one.
pub(crate) struct Exchange([AtomicPtr<Left>; PLACES]);

const PLACES: usize = 64;

/// What is written into a block that is left: its layout.
#[derive(Clone, Copy)]
struct Left {
    size: usize,
    align: usize,
}

impl Exchange {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; PLACES])
    }

    /// Leaves a block, or nothing, and takes what lay there.
    fn swap(&self, place: usize, block: Option<Block>) -> Option<Block> {
        let new = block.map_or(null_mut(), |block| {
            let at = block.start.cast::<Left>();
            let (size, align) = (block.layout.size(), block.layout.align());
            // SAFETY: ours, at least two words, aligned to 8.
            unsafe { at.write(Left { size, align }) };
            at.as_ptr()
        });
        // Release and Acquire: the block and its shadow go along.
        let old = NonNull::new(self.0[place].swap(new, Ordering::AcqRel))?;
        // SAFETY: left by `swap`, and ours now.
        let Left { size, align } = unsafe { old.read() };
        let layout = Layout::from_size_align(size, align).ok()?;
        let block = Block { start: old.cast(), layout };
        block.restore_head();
        Some(block)
    }
}

/// Blocks that one core has.
pub(crate) struct Worker<'a, A: ?Sized> {
    allocator: &'a A,
    exchange: Option<&'a Exchange>,
    random: Random,
    blocks: [Option<Block>; HELD],
    /// Calls made: allocations and frees.
    pub(crate) calls: u64,
}

/// Most blocks that a worker holds.
const HELD: usize = 192;

impl<'a, A: Allocator + ?Sized> Worker<'a, A> {
    /// Holds nothing. With an exchange, some blocks are freed by others.
    pub(crate) fn new(allocator: &'a A, exchange: Option<&'a Exchange>, seed: usize) -> Self {
        let random = Random::new(seed);
        Self { allocator, exchange, random, blocks: [None; HELD], calls: 0 }
    }

    /// Fills a place or empties it. `Ok(false)` when there was no memory.
    pub(crate) fn step(&mut self) -> Result<bool, Text> {
        let at = self.random.below(HELD);
        if let Some(block) = self.blocks[at].take() {
            let handed = self.exchange.filter(|_| self.random.below(4) == 0);
            let Some(exchange) = handed else { return self.free(block).map(|()| true) };
            block.check()?;
            let place = self.random.below(PLACES);
            return match exchange.swap(place, Some(block)) {
                Some(other) => self.free(other).map(|()| true),
                None => Ok(true),
            };
        }
        let layout = some_layout(&mut self.random);
        self.calls += 1;
        let start = self.allocator.alloc(layout);
        if start.is_null() {
            return Ok(false);
        }
        self.blocks[at] = Some(Block::born(start, layout)?);
        Ok(true)
    }

    fn free(&mut self, block: Block) -> Result<(), Text> {
        block.dies()?;
        self.calls += 1;
        // SAFETY: live, of that layout, and ours.
        unsafe { self.allocator.dealloc(block.start, block.layout) };
        Ok(())
    }

    /// Frees everything, also what lies in the exchange.
    pub(crate) fn finish(&mut self) -> Result<(), Text> {
        for at in 0..HELD {
            if let Some(block) = self.blocks[at].take() {
                self.free(block)?;
            }
        }
        if let Some(exchange) = self.exchange {
            for place in 0..PLACES {
                if let Some(block) = exchange.swap(place, None) {
                    self.free(block)?;
                }
            }
        }
        Ok(())
    }
}

/// One outcome per core, for jobs, which return nothing.
pub(crate) struct Outcomes([spin::mutex::SpinMutex<Option<Text>>; CPUS]);

impl Outcomes {
    pub(crate) const fn new() -> Self {
        Self([const { spin::mutex::SpinMutex::new(None) }; CPUS])
    }

    /// Notes how a core came out.
    pub(crate) fn put(&self, core: usize, outcome: Result<(), Text>) {
        *self.0[core].lock() = outcome.err();
    }

    /// The first failure, if any; all are forgotten.
    pub(crate) fn all(&self) -> Result<(), Text> {
        let mut all = Ok(());
        for outcome in &self.0 {
            if let Some(text) = outcome.lock().take() {
                all = Err(text);
            }
        }
        all
    }
}

/// A granule heap as an [`Allocator`].
pub(crate) struct Of<C: granule::Config>(pub(crate) &'static granule::core_api::Heap<C>);

impl<C: granule::Config> Allocator for Of<C> {
    #[inline]
    fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.alloc(layout)
    }

    #[inline]
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.dealloc(block, layout) };
    }
}

/// The same, by the calls that never wait.
pub(crate) struct NoLock<C: granule::Config>(pub(crate) &'static granule::core_api::Heap<C>);

impl<C: granule::Config> Allocator for NoLock<C> {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.try_alloc_nolock(layout)
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.dealloc_nolock(block, layout) };
    }
}
