//! A pool of all threads.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering;

use allocator_api2::alloc::{AllocError, Allocator};

use super::stack::Stack;
use crate::base::sync::atomic::{AtomicPtr, AtomicU32};

/// Values in the first chunk; each further one has as many as all before it
/// and these together.
const FIRST: u32 = 16;

/// Chunks at most: together less than 2³¹ values.
const CHUNKS: usize = 27;

/// Values of one type that come and go, for all threads at once, without a
/// lock: taking and giving back is one exchange of a word each. Memory goes
/// back when the pool is dropped.
///
/// All threads meet at that one word. Where many take and give all the time,
/// a heap with its caches scales better; where values pass from one thread to
/// another, or must not depend on a lock's holder being scheduled, this is the
/// right tool. There is none where the machine has no 64-bit exchange.
///
/// ```
/// use granule_core::pools::SharedPool;
/// # use allocator_api2::alloc::Global;
///
/// let pool = SharedPool::new_in(Global);
/// let sum: u64 = std::thread::scope(|scope| {
///     let made = pool.alloc(20u64).expect("memory");
///     let other = scope.spawn(move || *made + 1);
///     other.join().expect("no panic")
/// });
/// assert_eq!((sum, pool.peak()), (21, 1));
/// ```
pub struct SharedPool<T, A: Allocator> {
    free: Stack,
    /// Values below this were once taken.
    fresh: AtomicU32,
    /// M1: a chunk that is here stays to the drop.
    chunks: [AtomicPtr<u8>; CHUNKS],
    allocator: A,
    of: PhantomData<fn() -> T>,
}

impl<T, A: Allocator> fmt::Debug for SharedPool<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").field("peak", &self.peak()).finish_non_exhaustive()
    }
}

// SAFETY: places are handed to one holder at a time (T1), with their values;
// the allocator is called by all threads.
unsafe impl<T: Send, A: Allocator + Sync> Sync for SharedPool<T, A> {}
// SAFETY: no value is in the pool itself, and places move with it.
unsafe impl<T: Send, A: Allocator + Send> Send for SharedPool<T, A> {}

/// Where a number's place is: its chunk, and how far in.
#[inline]
const fn locate(number: u32) -> (usize, u32) {
    let beyond = number / FIRST + 1;
    let chunk = beyond.ilog2();
    (chunk as usize, number - FIRST * ((1 << chunk) - 1))
}

/// Values in a chunk.
#[inline]
const fn values(chunk: usize) -> usize {
    (FIRST as usize) << chunk
}

impl<T, A: Allocator> SharedPool<T, A> {
    /// An empty pool, which takes its chunks from `allocator`.
    #[must_use]
    pub const fn new_in(allocator: A) -> Self {
        Self {
            free: Stack::new(),
            fresh: AtomicU32::new(0),
            chunks: [const { AtomicPtr::new(null_mut()) }; CHUNKS],
            allocator,
            of: PhantomData,
        }
    }

    /// Moves `value` into the pool.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when memory is short, or 2³¹ values live; `value` is
    /// dropped.
    #[inline]
    pub fn alloc(&self, value: T) -> Result<Shared<'_, T, A>, AllocError> {
        let number = match self.free.pop(|number| self.link(number)) {
            Some(number) => number,
            None => self.take_fresh()?,
        };
        let place = self.place(number);
        // SAFETY: T1, the place is ours.
        unsafe { place.write(value) };
        Ok(Shared { place, number, pool: self, owns: PhantomData })
    }

    #[cold]
    fn take_fresh(&self) -> Result<u32, AllocError> {
        // Relaxed: the chunk is found under its own pairing.
        let mut fresh = self.fresh.load(Ordering::Relaxed);
        loop {
            let (chunk, _) = locate(fresh);
            if chunk == CHUNKS {
                return Err(AllocError);
            }
            self.install(chunk)?;
            match self.fresh.compare_exchange_weak(
                fresh,
                fresh + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(fresh),
                Err(now) => fresh = now,
            }
        }
    }

    /// Sees to it that there is a chunk of this number.
    fn install(&self, chunk: usize) -> Result<(), AllocError> {
        let place = &self.chunks[chunk];
        // Acquire: pairs with the Release below, for the links.
        if !place.load(Ordering::Acquire).is_null() {
            return Ok(());
        }
        let (layout, _) = Self::layout(chunk)?;
        let memory = self.allocator.allocate(layout)?.cast::<u8>();
        for at in 0..values(chunk) {
            // SAFETY: the links come first; ours until it is entered.
            unsafe { memory.cast::<AtomicU32>().add(at).write(AtomicU32::new(0)) };
        }
        // Release: publishes the links; pairs with the Acquire in `chunk` and
        // above.
        let entered = place.compare_exchange(
            null_mut(),
            memory.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if entered.is_err() {
            // Somebody else was faster.
            // SAFETY: allocated above, and nobody has seen it.
            unsafe { self.allocator.deallocate(memory, layout) };
        }
        Ok(())
    }

    /// A chunk's layout, links first, and where its values begin.
    fn layout(chunk: usize) -> Result<(Layout, usize), AllocError> {
        let links = Layout::array::<AtomicU32>(values(chunk)).map_err(|_| AllocError)?;
        let places = Layout::array::<T>(values(chunk)).map_err(|_| AllocError)?;
        links.extend(places).map_err(|_| AllocError)
    }

    /// The chunk of a number that was handed out.
    #[inline]
    fn chunk(&self, chunk: usize) -> *mut u8 {
        // Acquire: pairs with the Release in `install`.
        self.chunks[chunk].load(Ordering::Acquire)
    }

    #[inline]
    fn link(&self, number: u32) -> &AtomicU32 {
        let (chunk, at) = locate(number);
        // SAFETY: M1, a number that was handed out has its chunk, with its link.
        unsafe { &*self.chunk(chunk).cast::<AtomicU32>().add(at as usize) }
    }

    #[inline]
    fn place(&self, number: u32) -> NonNull<T> {
        let (chunk, at) = locate(number);
        let links = values(chunk) * size_of::<AtomicU32>();
        let offset = links.next_multiple_of(align_of::<T>()) + at as usize * size_of::<T>();
        // SAFETY: M1, inside the chunk, laid out as `layout` says.
        unsafe { NonNull::new_unchecked(self.chunk(chunk).add(offset).cast()) }
    }

    /// # Safety
    ///
    /// Caller: has the number, whose value is gone.
    #[inline]
    unsafe fn give(&self, number: u32) {
        self.free.push(number, self.link(number));
    }

    /// How many values there were at the same time, at most: the pool has
    /// places for them, and for at most as many again.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.fresh.load(Ordering::Relaxed) as usize
    }
}

impl<T, A: Allocator> Drop for SharedPool<T, A> {
    fn drop(&mut self) {
        for chunk in 0..CHUNKS {
            let Some(memory) = NonNull::new(self.chunk(chunk)) else { break };
            if let Ok((layout, _)) = Self::layout(chunk) {
                // SAFETY: M1; no handle is left, as each borrows the pool.
                unsafe { self.allocator.deallocate(memory, layout) };
            }
        }
    }
}

/// A value in a [`SharedPool`], which goes back when this is dropped, on any
/// thread.
pub struct Shared<'p, T, A: Allocator> {
    place: NonNull<T>,
    number: u32,
    pool: &'p SharedPool<T, A>,
    owns: PhantomData<T>,
}

// SAFETY: as a box of the value, and a reference to the pool.
unsafe impl<T: Send, A: Allocator + Sync> Send for Shared<'_, T, A> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync, A: Allocator + Sync> Sync for Shared<'_, T, A> {}

impl<T, A: Allocator> Shared<'_, T, A> {
    /// Takes the value out; its place goes back.
    #[must_use]
    #[inline]
    pub fn into_inner(self) -> T {
        let this = ManuallyDrop::new(self);
        // SAFETY: read once, and nobody has the place any more.
        unsafe {
            let value = this.place.read();
            this.pool.give(this.number);
            value
        }
    }
}

impl<T, A: Allocator> Drop for Shared<'_, T, A> {
    #[inline]
    fn drop(&mut self) {
        // Should the value's drop unwind, its place is lost until the pool goes.
        // SAFETY: the value and the number are the handle's, and used no more.
        unsafe {
            self.place.drop_in_place();
            self.pool.give(self.number);
        }
    }
}

impl<T, A: Allocator> Deref for Shared<'_, T, A> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: written, and the handle's own.
        unsafe { self.place.as_ref() }
    }
}

impl<T, A: Allocator> DerefMut for Shared<'_, T, A> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: written, and the handle's own.
        unsafe { self.place.as_mut() }
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for Shared<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
