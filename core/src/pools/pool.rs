//! A pool of one thread.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::blocks::{Blocks, Vacant};

/// Values of one type that come and go, for one thread at a time.
///
/// Taking and giving back is a list's pop and push: some five instructions
/// and no lock, whatever the allocator below. Memory goes back to that when
/// the pool is dropped, so a pool is as large as it ever had to be.
///
/// ```
/// use granule_core::pools::Pool;
/// # use allocator_api2::alloc::Global;
///
/// let requests = Pool::new_in(Global);
/// let mut first = requests.alloc([0u8; 100])?;
/// first[0] = 1;
/// drop(first); // the next one gets its place
/// let second = requests.alloc([2; 100])?;
/// assert_eq!((second[0], requests.len()), (2, 1));
/// # Ok::<(), granule_core::doors::AllocError>(())
/// ```
///
/// A value cannot outlive its pool:
///
/// ```compile_fail,E0505
/// # use granule_core::pools::Pool;
/// # use allocator_api2::alloc::Global;
/// let pool = Pool::new_in(Global);
/// let value = pool.alloc(1u64).unwrap();
/// drop(pool);
/// assert_eq!(*value, 1);
/// ```
///
/// A reference to a pool is an [`Allocator`] of blocks no larger and no more
/// aligned than a `T`, so that collections of nodes and boxes may live in it.
pub struct Pool<T, A: Allocator> {
    blocks: Blocks<T, A>,
}

impl<T, A: Allocator> fmt::Debug for Pool<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T, A: Allocator> Pool<T, A> {
    /// An empty pool, which takes its chunks from `allocator`.
    #[must_use]
    pub const fn new_in(allocator: A) -> Self {
        Self { blocks: Blocks::new(allocator) }
    }

    /// Moves `value` into the pool.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `value` is dropped.
    #[inline]
    pub fn alloc(&self, value: T) -> Result<Pooled<'_, T, A>, AllocError> {
        self.alloc_with(|| value)
    }

    /// The same with a value that is made only when there is a place for it,
    /// and often in it.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `make` is not called then.
    #[inline]
    pub fn alloc_with(&self, make: impl FnOnce() -> T) -> Result<Pooled<'_, T, A>, AllocError> {
        let vacant = self.blocks.vacant()?;
        Ok(Pooled { place: vacant.write(make()), pool: self, owns: PhantomData })
    }

    /// Values that live. Counts the places that are free.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.taken()
    }

    /// Whether no value lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the pool has of its allocator.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.bytes()
    }
}

// SAFETY: blocks are distinct and live until they are freed or the pool is
// dropped, which the borrow forbids.
unsafe impl<T, A: Allocator> Allocator for &Pool<T, A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() > size_of::<T>() || layout.align() > align_of::<T>() {
            return Err(AllocError);
        }
        let block = self.blocks.take()?;
        Ok(NonNull::slice_from_raw_parts(block.cast(), size_of::<T>()))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, _layout: Layout) {
        // SAFETY: by the contract a block of `allocate`, given up.
        unsafe { self.blocks.give(block.cast()) };
    }
}

/// A value in a [`Pool`], which goes back when this is dropped.
pub struct Pooled<'p, T, A: Allocator> {
    place: NonNull<T>,
    pool: &'p Pool<T, A>,
    owns: PhantomData<T>,
}

impl<'p, T, A: Allocator> Pooled<'p, T, A> {
    /// Takes the value out; its place goes back.
    #[must_use]
    #[inline]
    pub fn into_inner(self) -> T {
        let this = ManuallyDrop::new(self);
        // SAFETY: read once, and nobody has the place any more.
        unsafe {
            let _vacant = Vacant::new(this.place, &this.pool.blocks);
            this.place.read()
        }
    }

    /// Gives the value up to the pool: it is not dropped, and its place not
    /// used again before the pool goes.
    #[must_use]
    #[inline]
    pub fn leak(self) -> &'p mut T {
        let mut place = ManuallyDrop::new(self).place;
        // SAFETY: no handle is left, and the pool is borrowed.
        unsafe { place.as_mut() }
    }
}

impl<T, A: Allocator> Drop for Pooled<'_, T, A> {
    #[inline]
    fn drop(&mut self) {
        // The place goes back even when the value's drop unwinds.
        // SAFETY: the handle's own, and the value is used no more.
        unsafe {
            let _vacant = Vacant::new(self.place, &self.pool.blocks);
            self.place.drop_in_place();
        }
    }
}

impl<T, A: Allocator> Deref for Pooled<'_, T, A> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: written, and the handle's own.
        unsafe { self.place.as_ref() }
    }
}

impl<T, A: Allocator> DerefMut for Pooled<'_, T, A> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: written, and the handle's own.
        unsafe { self.place.as_mut() }
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for Pooled<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
