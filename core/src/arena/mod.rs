//! Arenas: values that end together.
//!
//! An [`Arena`] is a cursor over chunks of memory. To allocate is to move the
//! cursor; nothing is freed alone; to free all is to put the cursor back, and
//! takes the same time however much there was (regions: Hanson 1990; request
//! pools with clean-up callbacks: Apache and nginx).
//!
//! - `bump`: the cursor and its chunks;
//! - `cleanup`: what is done when it goes back;
//! - `scope`: parts of an arena that end before it.

mod bump;
mod cleanup;
mod scope;

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use self::bump::Bump;
use self::cleanup::{BOTTOM, Cleanups};

pub use self::scope::Scope;

/// Values that end together: at a [`reset`](Self::reset), or with the arena.
///
/// What is put in with [`alloc`](Self::alloc) and its like is *not dropped*:
/// right for plain data, and a leak for what owns memory elsewhere; there is
/// [`alloc_owned`](Self::alloc_owned) for that.
///
/// ```
/// use granule_core::arena::Arena;
/// # use allocator_api2::alloc::Global;
///
/// let mut arena = Arena::new_in(Global);
/// for request in 0..3 {
///     let number = arena.alloc(request)?;
///     let name = arena.alloc_str("request")?;
///     let log = arena.alloc_owned(Vec::from([*number]))?; // dropped at the reset
///     log.push(name.len());
///     arena.reset();
/// }
/// # Ok::<(), granule_core::doors::AllocError>(())
/// ```
///
/// Nothing outlives the reset:
///
/// ```compile_fail,E0502
/// # use granule_core::arena::Arena;
/// # use allocator_api2::alloc::Global;
/// let mut arena = Arena::new_in(Global);
/// let number = arena.alloc(1).unwrap();
/// arena.reset();
/// assert_eq!(*number, 1);
/// ```
///
/// A reference to an arena is an [`Allocator`]: what a collection gives back
/// is used again only when it was the last block, so that one vector at a time
/// grows in place.
pub struct Arena<A: Allocator> {
    // Before the chunks, in which its records lie.
    cleanups: Cleanups,
    bump: Bump<A>,
}

impl<A: Allocator> fmt::Debug for Arena<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

// SAFETY: no reference into the arena is left when it moves; what it drops and
// calls later may be sent, as `alloc_owned` and `defer` ask for.
unsafe impl<A: Allocator + Send> Send for Arena<A> {}

impl<A: Allocator> Arena<A> {
    /// An empty arena, which takes its chunks from `allocator`: the first of
    /// a kibibyte, each about as large as all before it, up to a mebibyte.
    #[must_use]
    pub const fn new_in(allocator: A) -> Self {
        Self { cleanups: Cleanups::new(), bump: Bump::new(allocator) }
    }

    /// Moves `value` into the arena. It is not dropped.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `value` is dropped.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "each call has a place of its own")]
    pub fn alloc<T>(&self, value: T) -> Result<&mut T, AllocError> {
        // SAFETY: the place is new, and lives as long as the borrow.
        self.put(value).map(|mut place| unsafe { place.as_mut() })
    }

    /// Copies `values` into the arena.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "each call has a place of its own")]
    pub fn alloc_slice<T: Copy>(&self, values: &[T]) -> Result<&mut [T], AllocError> {
        // SAFETY: the place is new, and lives as long as the borrow.
        self.put_slice(values).map(|mut place| unsafe { place.as_mut() })
    }

    /// Copies a string into the arena.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short.
    #[inline]
    pub fn alloc_str(&self, text: &str) -> Result<&str, AllocError> {
        let bytes = self.alloc_slice(text.as_bytes())?;
        // SAFETY: a copy of a string.
        Ok(unsafe { core::str::from_utf8_unchecked(bytes) })
    }

    /// Moves `value` into the arena, and drops it at the reset, what was put
    /// in last first. Three words more than the value.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `value` is dropped.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "each call has a place of its own")]
    pub fn alloc_owned<T: Send + 'static>(&self, value: T) -> Result<&mut T, AllocError> {
        // SAFETY: the place is new, and lives as long as the borrow.
        self.put_owned(value).map(|mut place| unsafe { place.as_mut() })
    }

    /// Calls `action` at the reset, or when the arena is dropped: the clean-up
    /// callback of a request's pool. Later ones first, in turn with the drops
    /// of [`alloc_owned`](Self::alloc_owned).
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `action` is dropped, not called.
    pub fn defer(&self, action: impl FnOnce() + Send + 'static) -> Result<(), AllocError> {
        self.put_deferred(action)
    }

    /// A block of `layout`, of any contents, as long as the arena is neither
    /// reset nor dropped.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short.
    #[inline]
    pub fn alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.bump.take(layout)
    }

    /// Ends all that is in the arena. Takes no time but what drops and actions
    /// take. The chunks stay, for what comes next.
    ///
    /// # Panics
    ///
    /// When an action or a drop does: older ones are then still to be done,
    /// at the next reset, and nothing has been given up.
    #[inline]
    pub fn reset(&mut self) {
        // SAFETY: nobody refers to what is in the arena, as it is borrowed
        // exclusively.
        unsafe {
            self.cleanups.run(BOTTOM);
            self.bump.restart();
        }
    }

    /// [`reset`](Self::reset), and gives chunks back to the allocator until at
    /// most `keep` bytes of them are left.
    pub fn reset_to(&mut self, keep: usize) {
        self.reset();
        self.bump.trim(keep);
    }

    /// Bytes that the arena has of its allocator.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bump.bytes()
    }

    /// Calls `work` with a part of the arena that ends when it returns.
    #[inline]
    pub fn scope<R>(&mut self, work: impl for<'s> FnOnce(&mut Scope<'s, A>) -> R) -> R {
        Scope::within(self, work)
    }

    #[inline(always)]
    fn place<T>(&self) -> Result<NonNull<T>, AllocError> {
        self.bump.take(Layout::new::<T>()).map(NonNull::cast)
    }

    #[inline(always)]
    fn put<T>(&self, value: T) -> Result<NonNull<T>, AllocError> {
        let place = self.place::<T>()?;
        // SAFETY: taken for this.
        unsafe { place.write(value) };
        Ok(place)
    }

    #[inline]
    fn put_slice<T: Copy>(&self, values: &[T]) -> Result<NonNull<[T]>, AllocError> {
        let place = self.bump.take(Layout::for_value(values))?.cast::<T>();
        // SAFETY: taken for so many, and nobody else's.
        unsafe { place.as_ptr().copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        Ok(NonNull::slice_from_raw_parts(place, values.len()))
    }

    #[inline]
    fn put_owned<T>(&self, value: T) -> Result<NonNull<T>, AllocError> {
        if !core::mem::needs_drop::<T>() {
            return self.put(value);
        }
        let place = self.place()?;
        // SAFETY: just taken.
        Ok(unsafe { self.cleanups.own(place, value) })
    }

    #[inline]
    fn put_deferred<F: FnOnce()>(&self, action: F) -> Result<(), AllocError> {
        let place = self.place()?;
        // SAFETY: just taken.
        unsafe { self.cleanups.defer(place, action) };
        Ok(())
    }
}

impl<A: Allocator> Drop for Arena<A> {
    fn drop(&mut self) {
        // SAFETY: nobody refers to what is in the arena, as it ends.
        unsafe { self.cleanups.run(BOTTOM) };
    }
}

// SAFETY: blocks are distinct, and live until the arena is reset or dropped,
// which the borrow forbids.
unsafe impl<A: Allocator> Allocator for &Arena<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.bump.take(layout)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.bump.resize_last(block, layout.size(), 0) };
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let aligned = block.addr().get().is_multiple_of(new.align());
        // SAFETY: by the contract.
        if aligned && unsafe { self.bump.resize_last(block, old.size(), new.size()) } {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        let moved = self.allocate(new)?;
        // SAFETY: another block, and at least as large.
        unsafe { block.copy_to_nonoverlapping(moved.cast(), old.size()) };
        Ok(moved)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if !block.addr().get().is_multiple_of(new.align()) {
            let moved = self.allocate(new)?;
            // SAFETY: another block, of the new size.
            unsafe { block.copy_to_nonoverlapping(moved.cast(), new.size()) };
            return Ok(moved);
        }
        // SAFETY: by the contract. Where it is not the last, it stays.
        unsafe { self.bump.resize_last(block, old.size(), new.size()) };
        Ok(NonNull::slice_from_raw_parts(block, new.size()))
    }
}

#[cfg(test)]
#[path = "arena_tests.rs"]
mod tests;
