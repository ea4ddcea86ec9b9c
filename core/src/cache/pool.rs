//! Memory for sheaves and slots, from runs of the heap's own regions.
//!
//! It is never given back (C2: a stale top may be read at any time), only
//! used again for the same purpose, until all of the heap's memory is (E1).
//!
//! Locks: `pool`, with none under it: a fresh chunk is taken from the regions
//! before. Calls that may not wait try it once, under the stash's.

use core::ptr::{NonNull, null_mut};

use super::list::SheafList;
use super::sheaf::{ORDERS, SHEAF_ALIGN, Sheaf, Word, words};
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::Lock;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::units::PageCount;
use crate::provider::Node;
use crate::region::{Near, Regions};

/// Free blocks, and a chunk to cut new ones from.
struct Blocks {
    free: [SheafList; ORDERS],
    next: Option<NonNull<u8>>,
    left: usize,
    /// Whether the rest of the chunk is known to be zero.
    zero: bool,
    total: usize,
}

// SAFETY: the pool owns its blocks and its chunk; reached under the lock.
unsafe impl Send for Blocks {}

/// The pool of a heap.
pub(crate) struct Pool<C: Config> {
    blocks: Lock<Blocks, C::Env>,
}

/// Which end of a chunk memory is cut from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Sheaves: the chunk is touched as they become more.
    Start,
    /// Slots. A hit loads a top after its user has written to the block, and a
    /// processor makes it wait where the last 12 bits of both addresses agree. Of
    /// the smallest classes the tops lie as far into a slot as their second objects
    /// into a slab: so a slot is not to begin at a page, as slabs do.
    End,
}

impl Blocks {
    fn cut(&mut self, bytes: usize, side: Side) -> Option<NonNull<u8>> {
        let start = self.next?;
        self.left = self.left.checked_sub(bytes)?;
        // SAFETY: `left` said that so much is left of the chunk, which is
        // ours. Sheaf words must be even to begin with.
        unsafe {
            let piece = match side {
                Side::Start => {
                    self.next = Some(start.add(bytes));
                    start
                }
                Side::End => start.add(self.left),
            };
            if !self.zero {
                // One by one, not as bytes: whoever walks the caches of others may
                // follow a top into a sheaf that it has not seen being made (C2).
                for word in 0..bytes / size_of::<Word>() {
                    piece.cast::<Word>().add(word).as_ref().store(null_mut(), Relaxed);
                }
            }
            Some(piece)
        }
    }
}

impl<C: Config> Pool<C> {
    pub(crate) const fn new() -> Self {
        Self {
            blocks: Lock::new(Blocks {
                free: [const { SheafList::new() }; ORDERS],
                next: None,
                left: 0,
                zero: false,
                total: 0,
            }),
        }
    }

    /// An empty sheaf for `class`; `None` when out of memory.
    pub(crate) fn sheaf(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        class: Class,
        order: u8,
    ) -> Option<Sheaf> {
        let free = self.blocks.lock().free[usize::from(order)].pop(|_| 0);
        if let Some(sheaf) = free {
            return Some(sheaf.retarget(class, order));
        }
        let bytes = words(order) * size_of::<Word>();
        let block = self.cut(regions, provider, bytes, Side::Start)?.cast();
        // SAFETY: the block is ours, of that order, and empty; cut at
        // multiples of `SHEAF_ALIGN`.
        Some(unsafe { Sheaf::format_first(block, class, order) })
    }

    /// An empty sheaf of the smallest order for `capacity` objects.
    pub(crate) fn run_sheaf(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        capacity: usize,
    ) -> Option<Sheaf> {
        let block = self.sheaf(regions, provider, Class::LARGE, 0)?.into_block();
        // SAFETY: the block is ours, of that order, and empty.
        Some(unsafe { Sheaf::format_for(block, capacity, 0) })
    }

    /// Takes an empty sheaf back.
    pub(crate) fn give(&self, sheaf: Sheaf) {
        debug_assert!(sheaf.len() == 0, "objects would leak");
        let order = usize::from(sheaf.order());
        self.blocks.lock().free[order].push(sheaf);
    }

    /// Takes as many empty sheaves back as `next` gives, unless somebody is at the pool.
    pub(crate) fn give_nolock(&self, mut next: impl FnMut() -> Option<Sheaf>) {
        let Some(mut blocks) = self.blocks.try_lock() else { return };
        while let Some(sheaf) = next() {
            debug_assert!(sheaf.len() == 0, "objects would leak");
            blocks.free[usize::from(sheaf.order())].push(sheaf);
        }
    }

    /// Fresh memory that stays ours for ever, aligned to [`SHEAF_ALIGN`] and
    /// zero. `None` when out of memory.
    pub(crate) fn cut(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        bytes: usize,
        side: Side,
    ) -> Option<NonNull<u8>> {
        let bytes = bytes.next_multiple_of(SHEAF_ALIGN);
        if let Some(block) = self.blocks.lock().cut(bytes, side) {
            return Some(block);
        }
        let least = PageCount::covering(bytes)?;
        // One pool for all nodes: what is in it stays in CPUs' caches.
        let near = Near::First(Node(0));
        let run = regions
            .take(provider, near, least.max(PageCount(C::POOL_PAGES)), 1, Class::LARGE)
            .or_else(|_| regions.take(provider, near, least, 1, Class::LARGE))
            .ok()?;
        let mut blocks = self.blocks.lock();
        // What is left of the old chunk is forgotten: less than one block,
        // but when two threads came here at once.
        blocks.next = Some(run.start);
        blocks.left = run.pages.bytes();
        blocks.zero = run.zero;
        blocks.total += run.pages.bytes();
        blocks.cut(bytes, side)
    }

    /// Bytes taken from the regions so far.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.lock().total
    }

    /// Closes the lock for `fork`.
    pub(crate) fn hold(&self) {
        self.blocks.hold();
    }

    /// Opens it again.
    ///
    /// # Safety
    ///
    /// Caller: closed it by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe { self.blocks.unhold() };
    }
}
