//! Parts of an arena that end before it.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::Arena;
use super::bump::Mark;
use super::cleanup::Depth;

/// A part of an [`Arena`] that ends when the closure that has it returns, and
/// with it what was put in since. Scopes nest; what an outer one holds stays.
///
/// ```
/// use granule_core::arena::Arena;
/// # use allocator_api2::alloc::Global;
///
/// let mut arena = Arena::new_in(Global);
/// let total = arena.scope(|outer| {
///     let kept = outer.alloc(1)?;
///     for _ in 0..100 {
///         outer.scope(|inner| *kept += inner.alloc_slice(&[1, 2, 3]).map_or(0, |s| s.len()));
///     }
///     Ok::<_, granule_core::doors::AllocError>(*kept)
/// });
/// assert_eq!(total, Ok(301));
/// assert_eq!(arena.bytes(), 1024); // the hundred shared a place
/// ```
///
/// Nothing gets out of a scope:
///
/// ```compile_fail
/// # use granule_core::arena::Arena;
/// # use allocator_api2::alloc::Global;
/// let mut arena = Arena::new_in(Global);
/// let number = arena.scope(|scope| scope.alloc(1).unwrap());
/// ```
#[derive(Debug)]
pub struct Scope<'s, A: Allocator> {
    arena: &'s Arena<A>,
    /// Neither longer nor shorter than the closure's.
    ends: PhantomData<fn(&'s ()) -> &'s ()>,
}

/// Puts the arena back, also when the work unwinds.
struct End<'a, A: Allocator> {
    arena: &'a Arena<A>,
    mark: Mark,
    depth: Depth,
}

impl<A: Allocator> Drop for End<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mark is of the scope's begin. Whatever was taken since is
        // the scope's, whose references have ended, or an inner one's, which
        // has ended; the outer ones took nothing meanwhile, as they were
        // borrowed. If an action unwinds, the cursor stays.
        unsafe {
            self.arena.cleanups.run(self.depth);
            self.arena.bump.rewind(self.mark);
        }
    }
}

impl<'s, A: Allocator> Scope<'s, A> {
    /// The exclusive borrow of the caller, of the arena or of a scope, is what
    /// keeps others from taking meanwhile.
    #[inline]
    pub(super) fn within<R>(
        arena: &Arena<A>,
        work: impl for<'i> FnOnce(&mut Scope<'i, A>) -> R,
    ) -> R {
        let end = End { arena, mark: arena.bump.mark(), depth: arena.cleanups.depth() };
        work(&mut Scope { arena: end.arena, ends: PhantomData })
    }

    /// Calls `work` with a part of this scope that ends when it returns.
    #[inline]
    pub fn scope<R>(&mut self, work: impl for<'i> FnOnce(&mut Scope<'i, A>) -> R) -> R {
        Scope::within(self.arena, work)
    }

    /// As [`Arena::alloc`], until the scope ends.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `value` is dropped.
    #[inline]
    pub fn alloc<T: 's>(&self, value: T) -> Result<&'s mut T, AllocError> {
        // SAFETY: the place is new, and the scope's.
        self.arena.put(value).map(|mut place| unsafe { place.as_mut() })
    }

    /// As [`Arena::alloc_slice`], until the scope ends.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short.
    #[inline]
    pub fn alloc_slice<T: Copy + 's>(&self, values: &[T]) -> Result<&'s mut [T], AllocError> {
        // SAFETY: the place is new, and the scope's.
        self.arena.put_slice(values).map(|mut place| unsafe { place.as_mut() })
    }

    /// As [`Arena::alloc_str`], until the scope ends.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short.
    #[inline]
    pub fn alloc_str(&self, text: &str) -> Result<&'s str, AllocError> {
        let bytes = self.alloc_slice(text.as_bytes())?;
        // SAFETY: a copy of a string.
        Ok(unsafe { core::str::from_utf8_unchecked(bytes) })
    }

    /// As [`Arena::alloc_owned`]: dropped when the scope ends.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `value` is dropped.
    #[inline]
    pub fn alloc_owned<T: Send + 'static>(&self, value: T) -> Result<&'s mut T, AllocError> {
        // SAFETY: the place is new, and the scope's.
        self.arena.put_owned(value).map(|mut place| unsafe { place.as_mut() })
    }

    /// As [`Arena::defer`]: called when the scope ends.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short; `action` is dropped, not called.
    pub fn defer(&self, action: impl FnOnce() + Send + 'static) -> Result<(), AllocError> {
        self.arena.put_deferred(action)
    }
}

// SAFETY: as the arena's. The borrow of the scope keeps inner ones from
// beginning as long as there is a block.
unsafe impl<A: Allocator> Allocator for &Scope<'_, A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arena.allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.arena.deallocate(block, layout) };
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: by the contract.
        unsafe { self.arena.grow(block, old, new) }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: by the contract.
        unsafe { self.arena.shrink(block, old, new) }
    }
}
