//! Freed blocks that wait before they are used again, oldest first.
//!
//! Locks: `ring`, a leaf.

use crate::base::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use core::ptr::{NonNull, null_mut};

use crate::base::config::Config;
use crate::base::sync::Lock;
use crate::cache::pool::Side;
use crate::cache::{Cache, Lower};

/// Blocks that wait at most.
const BLOCKS: usize = 1024;

struct Ring {
    /// Room for [`BLOCKS`] pointers, from the pool; none before the first one.
    places: Option<NonNull<Place>>,
    first: usize,
    len: usize,
    bytes: usize,
}

/// A block and its size.
#[derive(Clone, Copy)]
struct Place {
    block: NonNull<u8>,
    size: usize,
}

// SAFETY: the ring's places are its own, and reached under the lock.
unsafe impl Send for Ring {}

/// The quarantine of a heap.
pub(crate) struct Quarantine<C: Config> {
    ring: Lock<Ring, C::Env>,
    /// Bytes that wait at most: a block of more than a fourth of it does not.
    most: usize,
}

/// Where blocks that come out are collected: a bounded number at a time.
pub(super) type Out = [AtomicPtr<u8>; 8];

/// An empty collection.
pub(super) fn none_out() -> Out {
    [const { AtomicPtr::new(null_mut()) }; 8]
}

impl Ring {
    fn place(&self, index: usize) -> Option<NonNull<Place>> {
        // SAFETY: there is room for so many.
        self.places.map(|places| unsafe { places.add(index % BLOCKS) })
    }

    fn pop(&mut self) -> Option<NonNull<u8>> {
        if self.len == 0 {
            return None;
        }
        // SAFETY: written by `push`; reached under the lock.
        let Place { block, size } = unsafe { self.place(self.first)?.read() };
        self.first = (self.first + 1) % BLOCKS;
        self.len -= 1;
        self.bytes -= size;
        Some(block)
    }
}

impl<C: Config> Quarantine<C> {
    pub(crate) const fn new(most: usize) -> Self {
        Self { ring: Lock::new(Ring { places: None, first: 0, len: 0, bytes: 0 }), most }
    }

    /// Lets a freed block that keeps `size` bytes from others wait; `false` when it
    /// should not: also where those that come out for it, a few at a time, do not make
    /// room enough. They are stored in `out`, and are the caller's.
    pub(super) fn push(
        &self,
        cache: &Cache<C>,
        lower: &Lower<C>,
        block: NonNull<u8>,
        size: usize,
        out: &Out,
    ) -> bool {
        if size > self.most / 4 || !self.has_places(cache, lower) {
            return false;
        }
        let mut ring = self.ring.lock();
        for place in out {
            if ring.len < BLOCKS && ring.bytes + size <= self.most {
                break;
            }
            place.store(ring.pop().map_or(null_mut(), NonNull::as_ptr), Relaxed);
        }
        if ring.len == BLOCKS || ring.bytes + size > self.most {
            return false;
        }
        let Some(place) = ring.place(ring.first + ring.len) else { return false };
        // SAFETY: a free place of the ring's.
        unsafe { place.write(Place { block, size }) };
        ring.len += 1;
        ring.bytes += size;
        true
    }

    /// Takes the oldest block out.
    pub(super) fn pop(&self) -> Option<NonNull<u8>> {
        self.ring.lock().pop()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.lock().bytes
    }

    fn has_places(&self, cache: &Cache<C>, lower: &Lower<C>) -> bool {
        if self.ring.lock().places.is_some() {
            return true;
        }
        let bytes = BLOCKS * size_of::<Place>();
        let Some(places) = cache.pool.cut(&lower.regions, &lower.provider, bytes, Side::Start)
        else {
            return false;
        };
        // Somebody else's are as good; these are then lost, once.
        self.ring.lock().places.get_or_insert(places.cast());
        true
    }

    /// Closes the lock for `fork`.
    pub(crate) fn hold(&self) {
        self.ring.hold();
    }

    /// Opens it again.
    ///
    /// # Safety
    ///
    /// Caller: closed it by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe { self.ring.unhold() };
    }
}
