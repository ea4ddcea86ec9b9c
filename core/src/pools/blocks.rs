//! Blocks of one layout: a list of free ones, linked through themselves, and
//! a cursor over what was never used.

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};

use allocator_api2::alloc::{AllocError, Allocator};

use super::chunks::Chunks;

/// What a free block begins with.
struct Free {
    next: *mut Free,
}

/// Blocks for values of `T`, for one thread.
///
/// B2: a block is in the list, above the cursor, or taken, and a free one
/// begins with the link of the list.
pub(super) struct Blocks<T, A: Allocator> {
    free: Cell<*mut Free>,
    fresh: Cell<*mut u8>,
    /// Blocks from the cursor on.
    left: Cell<usize>,
    /// Blocks of all chunks.
    count: Cell<usize>,
    chunks: Chunks<A>,
    of: PhantomData<fn() -> T>,
}

// SAFETY: the blocks are the value's own; they hold no `T` that it would drop.
unsafe impl<T, A: Allocator + Send> Send for Blocks<T, A> {}

impl<T, A: Allocator> Blocks<T, A> {
    /// At least a link, at least aligned for it.
    const LAYOUT: Layout = {
        let (value, link) = (Layout::new::<T>(), Layout::new::<Free>());
        let size = if value.size() > link.size() { value.size() } else { link.size() };
        let align = if value.align() > link.align() { value.align() } else { link.align() };
        match Layout::from_size_align(size, align) {
            Ok(layout) => layout.pad_to_align(),
            Err(_) => panic!("a type whose size cannot be rounded up to its alignment"),
        }
    };

    pub(super) const fn new(allocator: A) -> Self {
        Self {
            free: Cell::new(null_mut()),
            fresh: Cell::new(null_mut()),
            left: Cell::new(0),
            count: Cell::new(0),
            chunks: Chunks::new(allocator),
            of: PhantomData,
        }
    }

    /// Blocks that are taken. Counts those that are not, so that takes need
    /// not.
    pub(super) fn taken(&self) -> usize {
        // SAFETY: B2.
        let next = |free: &NonNull<Free>| NonNull::new(unsafe { free.read() }.next);
        let free = core::iter::successors(NonNull::new(self.free.get()), next);
        self.count.get() - self.left.get() - free.count()
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.bytes()
    }

    /// A block that goes back unless it is written to.
    #[inline]
    pub(super) fn vacant(&self) -> Result<Vacant<'_, T, A>, AllocError> {
        Ok(Vacant { block: self.take()?, blocks: self })
    }

    /// A block, of any contents.
    #[inline]
    pub(super) fn take(&self) -> Result<NonNull<T>, AllocError> {
        let Some(free) = NonNull::new(self.free.get()) else { return self.take_fresh() };
        // SAFETY: B2.
        self.free.set(unsafe { free.read() }.next);
        Ok(free.cast())
    }

    #[inline]
    fn take_fresh(&self) -> Result<NonNull<T>, AllocError> {
        if self.left.get() == 0 {
            self.grow()?;
        }
        self.left.set(self.left.get() - 1);
        let fresh = self.fresh.get();
        // The cursor may end behind the chunk, and is not used then.
        self.fresh.set(fresh.wrapping_add(Self::LAYOUT.size()));
        // SAFETY: a block was left, so this is one inside a chunk.
        Ok(unsafe { NonNull::new_unchecked(fresh.cast()) })
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> Result<(), AllocError> {
        let (first, count) = self.chunks.grow(Self::LAYOUT)?;
        self.fresh.set(first.as_ptr());
        self.left.set(count);
        self.count.set(self.count.get() + count);
        Ok(())
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// Caller: the block is from [`take`](Self::take) of these blocks, and
    /// nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give(&self, block: NonNull<T>) {
        let free = block.cast::<Free>();
        // SAFETY: by the contract ours, and as large and aligned as a link (B2).
        unsafe { free.write(Free { next: self.free.get() }) };
        self.free.set(free.as_ptr());
    }
}

/// A block without a value: it goes back when this is dropped.
pub(super) struct Vacant<'p, T, A: Allocator> {
    block: NonNull<T>,
    blocks: &'p Blocks<T, A>,
}

impl<'p, T, A: Allocator> Vacant<'p, T, A> {
    /// A block whose value is gone, or about to go.
    ///
    /// # Safety
    ///
    /// Caller: as for [`Blocks::give`], but that nobody uses the block any more
    /// when this is dropped.
    #[inline]
    pub(super) unsafe fn new(block: NonNull<T>, blocks: &'p Blocks<T, A>) -> Self {
        Self { block, blocks }
    }

    /// The block with a value, the caller's from now on.
    #[inline]
    pub(super) fn write(self, value: T) -> NonNull<T> {
        let block = ManuallyDrop::new(self).block;
        // SAFETY: the block was this one's own, for a `T`.
        unsafe { block.write(value) };
        block
    }
}

impl<T, A: Allocator> Drop for Vacant<'_, T, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken, and this one's own.
        unsafe { self.blocks.give(self.block) };
    }
}
