//! Heaps that end: all memory goes back at once.

use core::ops::{Deref, DerefMut};

use super::Heap;
use super::checked::Checks;
use super::idle::Looks;
use crate::base::config::Config;
use crate::cache::{Cache, Resettable};
use crate::slab::Slabs;

/// The provider refused to take some of a heap's memory back. The heap is
/// empty and can be used; what was refused is asked again the next time that
/// all is given back, and kept until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRefused {
    /// Bytes of reservations that were refused.
    pub bytes: usize,
}

impl core::fmt::Display for ReleaseRefused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the page provider refused to take {} bytes back", self.bytes)
    }
}

impl core::error::Error for ReleaseRefused {}

impl<C: Config> Heap<C>
where
    C::Front: Resettable<C::Env>,
{
    /// Ends every block and gives all memory back to the provider, in time that
    /// depends on the number of regions and not of blocks. The heap is as new
    /// afterwards. Returns the bytes given back.
    ///
    /// The exclusive borrow is what makes this possible: nobody is inside the
    /// heap or has a handle on it. Memory of the caller's, see
    /// [`add_region`](Self::add_region), is the caller's again. What a provider
    /// never takes back (without
    /// [`Capabilities::RELEASE`](crate::provider::Capabilities::RELEASE)) stays in
    /// the heap, empty, counts under a cap as before, and is used again; when the heap
    /// is dropped the provider has to know by itself what it has handed out.
    ///
    /// Pointers to blocks dangle from now on: to use or free one breaks the
    /// contract of [`dealloc`](Self::dealloc).
    ///
    /// # Errors
    ///
    /// [`ReleaseRefused`] when the provider refused some of it.
    pub fn release_all(&mut self) -> Result<usize, ReleaseRefused> {
        // First: slots and sheaves lie in the regions (C2, E1).
        self.lower.front.reset();
        self.cache = Cache::new();
        self.lower.slabs = Slabs::new();
        self.checks = Checks::new();
        self.looks = Looks::new();
        let sampled = self.sampler.release_all(&self.lower.provider);
        let all = self.lower.regions.release_all(&self.lower.provider);
        match all.kept + sampled.kept {
            0 => Ok(all.given + sampled.given),
            bytes => Err(ReleaseRefused { bytes }),
        }
    }
}

/// A heap that ends when it is dropped, with all of its blocks at once.
///
/// Everything a [`Heap`] can do is done through a shared borrow of this one, so
/// the compiler keeps handles from outliving it:
///
/// ```compile_fail,E0505
/// # fn ends<C: granule_core::Config>(heap: granule_core::heap::OwnedHeap<C>)
/// # where C::Front: granule_core::cache::Resettable<C::Env> {
/// let handle: &granule_core::Heap<C> = &heap;
/// drop(heap);
/// handle.stats();
/// # }
/// ```
pub struct OwnedHeap<C: Config>
where
    C::Front: Resettable<C::Env>,
{
    heap: Heap<C>,
}

impl<C: Config> core::fmt::Debug for OwnedHeap<C>
where
    C::Front: Resettable<C::Env>,
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OwnedHeap").finish_non_exhaustive()
    }
}

impl<C: Config> OwnedHeap<C>
where
    C::Front: Resettable<C::Env>,
{
    /// An empty heap. It takes memory from `provider` at the first use.
    #[must_use]
    pub const fn new(provider: C::Pages, front: C::Front) -> Self {
        Self { heap: Heap::new(provider, front) }
    }

    /// Ends the heap; dropping it does the same, and cannot say what failed.
    /// Returns the bytes given back.
    ///
    /// # Errors
    ///
    /// [`ReleaseRefused`] with what the provider refused; it is asked once more
    /// as the heap is dropped, and what it refuses then is lost.
    /// [`release_all`](Heap::release_all) keeps the heap and what was refused.
    pub fn destroy(mut self) -> Result<usize, ReleaseRefused> {
        self.heap.release_all()
    }
}

impl<C: Config> Deref for OwnedHeap<C>
where
    C::Front: Resettable<C::Env>,
{
    type Target = Heap<C>;

    #[inline(always)]
    fn deref(&self) -> &Heap<C> {
        &self.heap
    }
}

/// Exclusively, for [`release_all`](Heap::release_all). Two heaps may be
/// exchanged as any values: each takes its blocks along.
impl<C: Config> DerefMut for OwnedHeap<C>
where
    C::Front: Resettable<C::Env>,
{
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Heap<C> {
        &mut self.heap
    }
}

impl<C: Config> Drop for OwnedHeap<C>
where
    C::Front: Resettable<C::Env>,
{
    fn drop(&mut self) {
        // What is refused here cannot be kept by anybody.
        let _ = self.heap.release_all();
    }
}

#[cfg(test)]
#[path = "owned_tests.rs"]
mod tests;
