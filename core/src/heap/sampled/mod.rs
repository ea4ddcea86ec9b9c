//! Sampled guard pages, after GWP-ASan: now and then a block is given out that
//! lies on pages of its own between inaccessible ones, so that a program in
//! production finds its overflows and uses after free at the access, one in
//! many, at no cost to speak of.
//!
//! ```text
//! alloc  miss ─ countdown ┬ goes on: as ever
//!                         └ 0: a slot ─ unprotect ─ the block
//! free   not of the first region ─ in the pool? ─ verify around it ─ protect ─ queue
//! fault  the platform's handler ─ Heap::explain ─ report
//! ```
//!
//! Hits do not know of it. Who is sampled are those that miss: the first of
//! each refill of a sheaf, runs that no sheaf has, places that a `realloc` moves to. So the bias is towards blocks
//! that are kept, or of classes in demand, and away from those that are freed at
//! once and come from the cache again; and an object's chance does not depend on
//! its size, up to 16 KiB. Larger ones are not sampled.
//!
//! A free without a layout misses: the pool is no region of the heap. So the door of
//! C's `malloc` ([`Heap::alloc_class`]) samples blocks of any size. A free by layout
//! hits without a look-up, and would cache a sampled block with those of its class.
//! But above 1 KiB it tests the pointer's alignment, and objects of such classes lie
//! at multiples of 64 bytes. So [`Heap::alloc`] samples these sizes, at multiples of
//! 16 that are none of 64, and that test finds them, as those of `realloc`,
//! `dealloc_nolock` and `dealloc_batch` do. Up to 1 KiB nothing is tested.
//!
//! Locks: `queue`, a leaf, but that the pool is made under it: then the
//! provider's own come below.
//!
//! - [`pool`]: the slots.

mod pool;

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use self::pool::{Place, Pool, Queue, SLOT, Side};
use super::Heap;
use super::alloc::Fill;
use crate::base::class::TABLED;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::origin::{Caller, Origin};
use crate::base::sampling::Sampling;
use crate::base::sync::Lock;
use crate::base::sync::atomic::{AtomicPtr, AtomicU32, Ordering, Ordering::Relaxed};
use crate::base::tier::Tier;
use crate::cache::FrontEnd;
use crate::provider::{Capabilities, PageProvider};
use crate::region::AllReleased;

/// The countdown of a heap that samples nothing. It is not written then: each miss of
/// each CPU would take the line from the others.
const OFF: u32 = u32::MAX;

/// What a heap samples with.
pub(crate) struct Sampler<C: Config> {
    /// Misses until the next sample; 0 before it is known, [`OFF`] where there is
    /// none. Counted without an exchange: a count may get lost.
    countdown: AtomicU32,
    /// The slots, once there are any.
    pool: AtomicPtr<Pool>,
    queue: Lock<Queue, C::Env>,
}

/// What the free of a block will be told, and so which blocks may be sampled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Freed {
    /// Its layout.
    ByLayout,
    /// Its address alone; who allocates it.
    ByPointer(Caller),
}

impl Freed {
    fn caller(self) -> Caller {
        match self {
            Self::ByLayout => Caller::UNKNOWN,
            Self::ByPointer(caller) => caller,
        }
    }
}

impl<C: Config> Sampler<C> {
    pub(crate) const fn new() -> Self {
        Self {
            countdown: AtomicU32::new(0),
            pool: AtomicPtr::new(null_mut()),
            queue: Lock::new(Queue::new()),
        }
    }

    fn pool(&self) -> Option<&'static Pool> {
        // Acquire: pairs with the Release in `pool_or_make`.
        // SAFETY: made by `Pool::make`, for ever.
        unsafe { self.pool.load(Ordering::Acquire).as_ref() }
    }

    /// The pool that an address is in.
    #[inline]
    fn pool_of(&self, address: usize) -> Option<&'static Pool> {
        self.pool().filter(|pool| pool.contains(address))
    }

    /// Whether an address is in the pool, in a slot or around it.
    #[inline]
    pub(super) fn contains(&self, pointer: *const u8) -> bool {
        C::SAMPLES && self.pool_of(pointer.addr()).is_some()
    }

    /// Gives the slots back to the provider, live blocks or not, and begins anew.
    /// What is refused stays in use, and is tried again the next time; so does what
    /// is of a provider that takes nothing back.
    pub(super) fn release_all(&mut self, provider: &C::Pages) -> AllReleased {
        let mut all = AllReleased::default();
        let Some(pool) = self.pool() else { return all };
        let bytes = pool.reservation().bytes;
        let takes_back = provider.capabilities().contains(Capabilities::RELEASE);
        // SAFETY: from `reserve`, and no block of the pool is used any more, by
        // the exclusive borrow; nor is the pool itself, if that succeeds.
        if takes_back && unsafe { provider.release(pool.reservation()) }.is_ok() {
            *self = Self::new();
            all.given = bytes;
        } else {
            *self.queue.lock() = pool.restart(provider);
            all.kept = if takes_back { bytes } else { 0 };
        }
        all
    }

    /// Closes the lock for `fork`.
    pub(crate) fn hold(&self) {
        self.queue.hold();
    }

    /// Opens it again.
    ///
    /// # Safety
    ///
    /// Caller: closed it by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe { self.queue.unhold() };
    }

    /// At ticks: what was off is asked for again at the next miss.
    #[inline]
    pub(super) fn ask_again(&self) {
        if C::SAMPLES && self.countdown.load(Relaxed) == OFF {
            self.countdown.store(0, Relaxed);
        }
    }

    /// Whether the block of this miss is to be sampled.
    #[inline]
    fn counts_down(&self) -> bool {
        match self.countdown.load(Relaxed) {
            0 | 1 => true,
            OFF => false,
            left => {
                self.countdown.store(left - 1, Relaxed);
                false
            }
        }
    }
}

impl<C: Config> Heap<C> {
    /// A sampled block, if it is time for one.
    #[inline]
    pub(super) fn alloc_sampled(
        &self,
        size: usize,
        fill: Fill,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        if C::SAMPLES && self.sampler.counts_down() {
            // What `malloc` promises.
            let place = Place::Aligned(if size > 8 { 16 } else { 8 });
            self.alloc_sampled_now(size, place, fill, caller)
        } else {
            None
        }
    }

    /// The same for a layout of a size from [`TABLED`] on, by which the block will be
    /// freed: it lies where no object of a class does.
    #[inline]
    pub(super) fn alloc_sampled_by_layout(
        &self,
        layout: Layout,
        fill: Fill,
    ) -> Option<NonNull<u8>> {
        let may_be = C::SAMPLES && layout.align() <= Place::UNLIKE_CLASSES_ALIGN;
        if may_be && self.sampler.counts_down() {
            self.alloc_sampled_now(layout.size(), Place::UnlikeClasses, fill, Caller::UNKNOWN)
        } else {
            None
        }
    }

    /// The block that one which is reallocated moves to: a sampled one, if the cache
    /// has none and it is time.
    pub(super) fn alloc_target(&self, new: Layout, freed: Freed) -> *mut u8 {
        let class = Self::class(new);
        let hit = self.lower.front.pop(class);
        if !hit.is_null() {
            return hit;
        }
        let sampled = match freed {
            Freed::ByLayout if new.size() >= TABLED => self.alloc_sampled_by_layout(new, Fill::Any),
            Freed::ByLayout => None,
            Freed::ByPointer(caller) => self.alloc_sampled(new.size(), Fill::Any, caller),
        };
        match sampled {
            Some(block) => block.as_ptr(),
            None => self.alloc_uncached(new, class, Fill::Any),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_sampled_now(
        &self,
        size: usize,
        place: Place,
        fill: Fill,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        let Sampling { rate, slots } = C::sampling();
        let able = self.lower.provider.capabilities().contains(Capabilities::PROTECT);
        if rate == 0 || slots == 0 || !able || Self::checks_calls() {
            self.sampler.countdown.store(OFF, Relaxed);
            return None;
        }
        let random = self.cache.random();
        let first = self.sampler.countdown.load(Relaxed) == 0;
        // 1 to twice the rate less 1: the rate in the mean.
        let next = 1 + (random >> 8) as u32 % (2 * rate.min(u32::MAX / 2) - 1);
        self.sampler.countdown.store(next, Relaxed);
        // The next miss, or at the rate of 1 this one.
        if place.extent(size) > SLOT || first && next > 1 {
            return None;
        }
        let pool = self.pool_or_make(slots.min(Sampling::MOST_SLOTS))?;
        let slot = pool.take(&mut self.sampler.queue.lock())?;
        let side = if random & 1 == 0 { Side::First } else { Side::Last };
        let origin = Origin { thread: C::Env::thread(), caller };
        let block = pool.open(&self.lower.provider, slot, size, place, side, origin);
        let Some(block) = block else {
            pool.put(&mut self.sampler.queue.lock(), slot);
            return None;
        };
        if fill == Fill::Zero {
            // SAFETY: ours, of that size.
            unsafe { block.write_bytes(0, size) };
        }
        Some(block)
    }

    fn pool_or_make(&self, slots: u32) -> Option<&'static Pool> {
        if let Some(pool) = self.sampler.pool() {
            return Some(pool);
        }
        {
            let mut queue = self.sampler.queue.lock();
            if self.sampler.pool().is_none() {
                let (pool, free) = Pool::make(&self.lower.provider, slots)?;
                *queue = free;
                // Release: pairs with the Acquire in `pool`.
                let pool = core::ptr::from_ref(pool).cast_mut();
                self.sampler.pool.store(pool, Ordering::Release);
            }
        }
        // Perhaps by two threads: it is as good twice.
        C::Env::guards_begin();
        self.sampler.pool()
    }

    /// Frees a sampled block; `false` when the pointer is not into the pool.
    pub(super) fn free_sampled(&self, pointer: NonNull<u8>, caller: Caller) -> bool {
        if !C::SAMPLES {
            return false;
        }
        let Some(pool) = self.sampler.pool_of(pointer.addr().get()) else { return false };
        let origin = Origin { thread: C::Env::thread(), caller };
        match pool.close::<C::Env>(&self.lower.provider, pointer, origin) {
            Ok(slot) => pool.put(&mut self.sampler.queue.lock(), slot),
            Err(fault) => C::Env::fatal(fault),
        }
        true
    }

    /// Bytes of the sampled block at a pointer; `None` when that is not into the
    /// pool.
    pub(super) fn usable_sampled(&self, pointer: NonNull<u8>) -> Option<usize> {
        let address = pointer.addr().get();
        let pool = self.sampler.pool_of(address).filter(|_| C::SAMPLES)?;
        Some(pool.live(address).unwrap_or_else(|fault| C::Env::fatal(fault)))
    }

    /// Moves a sampled block into one of `new`; null when memory is short, and the
    /// block is as it was. A fault where it is none.
    pub(super) fn realloc_sampled(
        &self,
        pointer: NonNull<u8>,
        new: Layout,
        freed: Freed,
    ) -> *mut u8 {
        let Some(size) = self.usable_sampled(pointer) else {
            self.fault(FaultKind::InvalidPointer, pointer)
        };
        let moved = self.alloc_target(new, freed);
        if !moved.is_null() {
            // SAFETY: both are live, different, and large enough.
            unsafe { pointer.as_ptr().copy_to_nonoverlapping(moved, size.min(new.size())) };
            self.free_sampled(pointer, freed.caller());
        }
        moved
    }

    /// Whether blocks of a layout may have been sampled.
    pub(super) fn may_be_sampled(&self, layout: Layout) -> bool {
        C::SAMPLES && layout.size() >= TABLED && self.sampler.pool().is_some()
    }

    /// Asks [`Config::sampling`] at the next miss: for who finds out at run time,
    /// after blocks have been allocated.
    pub fn sampling_is_known(&self) {
        self.sampler.countdown.store(0, Relaxed);
    }

    /// What an access means that has faulted at `address`: the report about the
    /// block it was meant for, or `None` where the address is none of the
    /// heap's guarded memory. For handlers of page faults and of signals: only
    /// reads, takes no lock, and what it returns may be given to
    /// [`Environment::fatal`].
    #[must_use]
    pub fn explain(&self, address: usize) -> Option<Fault> {
        let sampled = || self.sampler.pool_of(address).map(|pool| pool.explain(address));
        let guarded = || self.explain_guarded(address);
        let (samples, guards) = (C::SAMPLES, C::MAX_TIER == Tier::Full);
        samples.then(sampled).flatten().or_else(|| guards.then(guarded).flatten())
    }
}

#[cfg(test)]
#[path = "sampled_tests.rs"]
mod tests;

#[cfg(test)]
mod by_layout_tests;
