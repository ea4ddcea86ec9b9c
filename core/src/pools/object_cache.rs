//! Values that stay constructed while nobody uses them.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};

use allocator_api2::alloc::{AllocError, Allocator};

use super::blocks::Blocks;

/// A value and, beside it, the link of the list of idle ones.
struct Object<T> {
    next: Cell<*mut Object<T>>,
    value: T,
}

/// A pool whose values are made once and used many times: what comes back is
/// kept as it is, and handed out again without being made (Bonwick's object
/// caches, USENIX 1994). For values that are dear to make: buffers, parsers,
/// locks, connections.
///
/// Who gives a value back leaves it fit for the next: what that means is
/// between the users of the cache. Values end with the cache, or in
/// [`reap`](Self::reap).
///
/// ```
/// use granule_core::pools::ObjectCache;
/// # use allocator_api2::alloc::Global;
///
/// let lines = ObjectCache::new_in(|| String::with_capacity(4096), Global);
/// let mut line = lines.get()?;
/// line.push_str("a line");
/// line.clear();
/// drop(line);
/// let line = lines.get()?; // with its room
/// assert_eq!((line.capacity(), lines.made()), (4096, 1));
/// # Ok::<(), granule_core::doors::AllocError>(())
/// ```
pub struct ObjectCache<T, F: Fn() -> T, A: Allocator> {
    /// O1: what is in this list is constructed, and nobody's.
    idle: Cell<*mut Object<T>>,
    blocks: Blocks<Object<T>, A>,
    make: F,
    owns: PhantomData<T>,
}

impl<T, F: Fn() -> T, A: Allocator> fmt::Debug for ObjectCache<T, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCache").field("made", &self.made()).finish_non_exhaustive()
    }
}

// SAFETY: idle values move with the cache; others have a borrow of it.
unsafe impl<T: Send, F: Fn() -> T + Send, A: Allocator + Send> Send for ObjectCache<T, F, A> {}

impl<T, F: Fn() -> T, A: Allocator> ObjectCache<T, F, A> {
    /// An empty cache, which makes values with `make` where there is no idle
    /// one, and takes its chunks from `allocator`.
    #[must_use]
    pub const fn new_in(make: F, allocator: A) -> Self {
        Self {
            idle: Cell::new(null_mut()),
            blocks: Blocks::new(allocator),
            make,
            owns: PhantomData,
        }
    }

    /// A value as somebody left it, or a new one.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no idle one and memory is short.
    #[inline]
    pub fn get(&self) -> Result<Cached<'_, T, F, A>, AllocError> {
        let object = match self.pop() {
            Some(object) => object,
            None => self.make()?,
        };
        Ok(Cached { object, cache: self, owns: PhantomData })
    }

    #[inline]
    fn pop(&self) -> Option<NonNull<Object<T>>> {
        let object = NonNull::new(self.idle.get())?;
        // SAFETY: O1.
        self.idle.set(unsafe { object.as_ref() }.next.get());
        Some(object)
    }

    #[cold]
    fn make(&self) -> Result<NonNull<Object<T>>, AllocError> {
        let vacant = self.blocks.vacant()?;
        Ok(vacant.write(Object { next: Cell::new(null_mut()), value: (self.make)() }))
    }

    /// Values that exist, idle or not. Counts the places that are free.
    #[must_use]
    pub fn made(&self) -> usize {
        self.blocks.taken()
    }

    /// Drops all idle values. Their places serve new ones.
    pub fn reap(&self) {
        while let Some(object) = self.pop() {
            // SAFETY: O1, and out of the list. Should the drop unwind, its place
            // is lost until the cache goes.
            unsafe {
                object.drop_in_place();
                self.blocks.give(object);
            }
        }
    }
}

impl<T, F: Fn() -> T, A: Allocator> Drop for ObjectCache<T, F, A> {
    fn drop(&mut self) {
        self.reap();
    }
}

/// A value of an [`ObjectCache`], idle again when this is dropped.
pub struct Cached<'c, T, F: Fn() -> T, A: Allocator> {
    object: NonNull<Object<T>>,
    cache: &'c ObjectCache<T, F, A>,
    owns: PhantomData<T>,
}

impl<T, F: Fn() -> T, A: Allocator> Drop for Cached<'_, T, F, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle's own; constructed, as it always was (O1).
        unsafe { self.object.as_ref() }.next.set(self.cache.idle.get());
        self.cache.idle.set(self.object.as_ptr());
    }
}

impl<T, F: Fn() -> T, A: Allocator> Deref for Cached<'_, T, F, A> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: constructed, and the handle's own.
        unsafe { &self.object.as_ref().value }
    }
}

impl<T, F: Fn() -> T, A: Allocator> DerefMut for Cached<'_, T, F, A> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: constructed, and the handle's own.
        unsafe { &mut self.object.as_mut().value }
    }
}

impl<T: fmt::Debug, F: Fn() -> T, A: Allocator> fmt::Debug for Cached<'_, T, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
#[path = "object_cache_tests.rs"]
mod tests;
