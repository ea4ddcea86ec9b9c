//! Heaps of one thread.

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::Heap;
use super::owned::{OwnedHeap, ReleaseRefused};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::OutOfMemory;
use crate::base::limits::Limits;
use crate::cache::alone::{Alone, Unshared};
use crate::observe::stats::Stats;
use crate::provider::PageProvider;

/// The configuration of a [`LocalHeap`]. Not public: who names its environment
/// could make heaps that are shared and do not know it.
#[derive(Debug)]
pub(crate) struct LocalConfig<P, E>(PhantomData<fn() -> (P, E)>);

impl<P: PageProvider + 'static, E: Environment> Config for LocalConfig<P, E> {
    type Pages = P;
    type Front = Alone<Unshared<E>>;
    type Env = Unshared<E>;

    const LIMITS: Limits = Limits::FRUGAL;
}

/// A heap that one thread uses at a time, and which ends when it is dropped:
/// its hits are plain loads and stores, without a guard or a look for the
/// caller's CPU, and there are no atomic updates on its slow paths: locks are
/// flags, see [`Environment::shared`]. It may be sent to another thread, and not be shared:
///
/// ```compile_fail,E0277
/// # use granule_core::{Environment, PageProvider, heap::LocalHeap};
/// # fn shares<P: PageProvider + 'static, E: Environment>(heap: &LocalHeap<P, E>) {
/// fn shared<T: Sync>(_: &T) {}
/// shared(heap);
/// # }
/// ```
///
/// Interrupt and signal handlers must not use it, as the compiler sees to as
/// long as no `unsafe` code gets them a borrow.
///
/// It gives out no `&Heap`, which could be shared.
#[derive(Debug)]
pub struct LocalHeap<P: PageProvider + 'static, E: Environment> {
    heap: OwnedHeap<LocalConfig<P, E>>,
    /// Not `Sync`: one borrower's calls come one after the other.
    one_thread: PhantomData<Cell<()>>,
}

impl<P: PageProvider + 'static, E: Environment> LocalHeap<P, E> {
    /// An empty heap. It takes memory from `provider` at the first use.
    #[must_use]
    pub const fn new(provider: P) -> Self {
        // SAFETY: nobody but this value reaches the heap, it is not `Sync`, and
        // none of its functions calls the caller's code but provider and
        // environment, which do not use the heap they serve.
        let front = unsafe { Alone::new() };
        Self { heap: OwnedHeap::new(provider, front), one_thread: PhantomData }
    }

    /// The heap, for doors that share it no further.
    #[inline(always)]
    pub(crate) fn whole(&self) -> &Heap<LocalConfig<P, E>> {
        &self.heap
    }

    /// As [`Heap::alloc`](crate::Heap::alloc).
    #[inline]
    pub fn alloc(&self, layout: Layout) -> *mut u8 {
        self.heap.alloc(layout)
    }

    /// As [`Heap::alloc_zeroed`](crate::Heap::alloc_zeroed).
    #[inline]
    pub fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.heap.alloc_zeroed(layout)
    }

    /// As [`Heap::dealloc`](crate::Heap::dealloc).
    ///
    /// # Safety
    ///
    /// Caller: as there.
    #[inline]
    pub unsafe fn dealloc(&self, pointer: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.heap.dealloc(pointer, layout) };
    }

    /// As [`Heap::free`](crate::Heap::free).
    ///
    /// # Safety
    ///
    /// Caller: as there.
    #[inline]
    pub unsafe fn free(&self, pointer: NonNull<u8>) {
        // SAFETY: by the contract.
        unsafe { self.heap.free(pointer) };
    }

    /// As [`Heap::realloc`](crate::Heap::realloc).
    ///
    /// # Safety
    ///
    /// Caller: as there.
    #[inline]
    pub unsafe fn realloc(&self, pointer: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { self.heap.realloc(pointer, layout, new_size) }
    }

    /// As [`Heap::usable_size`](crate::Heap::usable_size).
    #[must_use]
    pub fn usable_size(&self, pointer: NonNull<u8>) -> Option<usize> {
        self.heap.usable_size(pointer)
    }

    /// As [`Heap::contains`](crate::Heap::contains).
    #[must_use]
    pub fn contains(&self, pointer: *const u8) -> bool {
        self.heap.contains(pointer)
    }

    /// As [`Heap::stats`](crate::Heap::stats), and exact.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.heap.stats()
    }

    /// As [`Heap::reclaim`](crate::Heap::reclaim).
    pub fn reclaim(&self) -> usize {
        self.heap.reclaim()
    }

    /// As [`Heap::add_region`](crate::Heap::add_region).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Safety
    ///
    /// Caller: as there.
    pub unsafe fn add_region(&self, start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        // SAFETY: by the contract.
        unsafe { self.heap.add_region(start, bytes) }
    }

    /// As [`Heap::release_all`](crate::Heap::release_all).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn release_all(&mut self) -> Result<usize, ReleaseRefused> {
        self.heap.release_all()
    }

    /// Where the heap's memory comes from.
    pub fn provider(&self) -> &P {
        self.heap.provider()
    }
}
