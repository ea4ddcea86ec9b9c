//! Layer 5, heap. Uses: cache, slab, region, provider.
//!
//! A [`Heap`] routes requests by size: small objects to the cache, the rest
//! to runs of pages. It is `const`-constructible, so a heap is a plain
//! `static`; the first use sets it up.
//!
//! ```text
//! alloc  class ─ front end pop ─ hit ─▶ pointer
//!                 └ miss ─ cache.refill ─ depot ─ slabs ─ regions ─ provider
//!        large ─ regions.take (run of pages)
//! free   class (of the layout, or of the page) ─ front end push ─ hit ─▶ done
//!                 └ miss ─ cache.overflow ─ depot ─ slabs ─ regions ─ provider
//!        large ─ regions.give (coalesce)
//! ```
//!
//! - `alloc`: allocation, zeroed and aligned;
//! - `free`: sized and unsized;
//! - `realloc`: in place, by remapping, or by copy outside any lock;
//! - `batch`: many blocks in one call;
//! - `nolock`: both where nothing may wait;
//! - `reserve`: blocks set aside beforehand;
//! - `preallocate`: pages set aside beforehand;
//! - `cpus`: the caches of CPUs by their numbers;
//! - `owned`: heaps that end;
//! - `local`: heaps of one thread;
//! - `nested`: heaps inside of heaps;
//! - `check`: the invariants of a heap at rest, verified;
//! - `checked`: the tiers that verify every call;
//! - `sampled`: guard pages around one block in many;
//! - `idle`: ticks: what is idle goes back;
//! - `upkeep`: out-of-memory reclaim, fork, threads' ends.

mod alloc;
mod batch;
mod check;
mod checked;
mod cpus;
mod free;
mod idle;
mod local;
mod nested;
mod nolock;
mod owned;
mod preallocate;
mod realloc;
mod reserve;
mod sampled;
mod upkeep;

use core::ptr::NonNull;

use self::checked::Checks;
use self::sampled::Sampler;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::cache::{Cache, Lower};
use crate::observe::stats::{ClassStats, Stats};
use crate::provider::Node;

pub use check::Checked;
pub use cpus::DrainError;
pub use local::LocalHeap;
pub use nested::Nested;
pub use owned::{OwnedHeap, ReleaseRefused};
pub use reserve::Reserve;

/// A heap: the five layers over one provider, one front end, one environment.
///
/// All methods take `&self` and may be called from any thread.
pub struct Heap<C: Config> {
    pub(crate) lower: Lower<C>,
    pub(crate) cache: Cache<C>,
    checks: Checks<C>,
    sampler: Sampler<C>,
    looks: idle::Looks,
}

impl<C: Config> core::fmt::Debug for Heap<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

// SAFETY: provider and front end are `Sync`; the layers guard what they share
// with locks and atomics (see their modules).
unsafe impl<C: Config> Sync for Heap<C> {}

impl<C: Config> Heap<C> {
    /// An empty heap. It takes memory from `provider` at the first use.
    #[must_use]
    pub const fn new(provider: C::Pages, front: C::Front) -> Self {
        Self {
            lower: Lower::new(provider, front),
            cache: Cache::new(),
            checks: Checks::new(),
            sampler: Sampler::new(),
            looks: idle::Looks::new(),
        }
    }

    /// Where the heap's memory comes from.
    pub fn provider(&self) -> &C::Pages {
        &self.lower.provider
    }

    /// Bytes usable at a live block: at least what was asked for. `None` when
    /// no block of this heap can start at `pointer`. Waits for a lock where that is
    /// not in the heap's first region.
    #[must_use]
    pub fn usable_size(&self, pointer: NonNull<u8>) -> Option<usize> {
        let _stay = self.lower.regions.stay(pointer.as_ptr());
        if Self::checks_calls() {
            return self.usable_checked(pointer);
        }
        self.usable_raw(pointer).or_else(|| self.usable_sampled(pointer))
    }

    /// Whether `pointer` lies in one of the heap's regions or among its sampled
    /// blocks: in a block, live or not, or in the heap's own records. Any pointer may
    /// be asked about, also one that dangles or is nobody's. Takes no lock; compares
    /// it with each region where there are several.
    #[inline]
    #[must_use]
    pub fn contains(&self, pointer: *const u8) -> bool {
        self.lower.regions.directory.find(pointer).is_some() || self.sampler.contains(pointer)
    }

    /// Committed bytes of the region that `pointer` lies in, if any. Of several heaps that a pointer lies in,
    /// because one has memory of another, the innermost is the one with the fewest: its
    /// region, tables and all, lies in committed pages of the next. Any pointer may be
    /// asked about. Takes no lock.
    #[must_use]
    pub fn region_bytes(&self, pointer: *const u8) -> Option<usize> {
        self.lower.regions.directory.bytes_around(pointer)
    }

    /// The node that the memory under `pointer` was reserved for; `None` when it
    /// is in none of the heap's regions. Any pointer may be asked about. Always node 0 where
    /// [`Config::NODES`] is 1. Waits for a lock as [`usable_size`](Self::usable_size).
    #[must_use]
    pub fn node_of(&self, pointer: *const u8) -> Option<Node> {
        let _stay = self.lower.regions.stay(pointer);
        self.lower.regions.locate(pointer).map(|at| at.node())
    }

    /// Whether `pointer` lies in a page that is cut into blocks of one class, of
    /// at most 32 KiB. Any pointer may be asked about. Waits for a lock as
    /// [`usable_size`](Self::usable_size).
    #[inline]
    #[must_use]
    pub fn is_in_slab(&self, pointer: *const u8) -> bool {
        let _stay = self.lower.regions.stay(pointer);
        self.lower.regions.locate(pointer).is_some_and(|at| at.class().is_small())
    }

    fn usable_raw(&self, pointer: NonNull<u8>) -> Option<usize> {
        let located = self.lower.regions.locate(pointer.as_ptr())?;
        match located.class() {
            class if class.is_small() => Some(class.size()),
            _ => {
                let aligned = pointer.addr().get().is_multiple_of(crate::base::units::PAGE_SIZE);
                located.run().filter(|_| aligned).map(|pages| pages.bytes())
            }
        }
    }

    /// Counts of the whole heap. Walks all slots; other threads' caches are
    /// read while they change, so the figures are exact only when they rest.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let regions = self.lower.regions.stats();
        let (slots, cache_bytes) = self.cache.own_use();
        let own_bytes = cache_bytes + regions.own;
        let mut stats = Stats {
            regions: regions.regions,
            reserved: regions.reserved,
            committed: regions.committed,
            resident_free_bytes: regions.resident_free,
            slots,
            own_bytes,
            ..Stats::default()
        };
        let mut slab_run_bytes = 0;
        for class in Class::all() {
            let slabs = self.lower.slabs.stats(class);
            stats.slab_purged_bytes += slabs.purged * crate::base::units::PAGE_SIZE;
            stats.slabs += slabs.slabs;
            stats.slab_bytes += slabs.capacity * class.size();
            stats.slab_free_bytes += slabs.free * class.size();
            slab_run_bytes += slabs.slabs * class.info().slab_pages as usize;
        }
        slab_run_bytes *= crate::base::units::PAGE_SIZE;
        stats.quarantined_bytes = self.checks.quarantine.bytes() + self.checks.hidden.bytes();
        stats.cached_bytes = self.cache.cached_bytes();
        stats.parked_bytes = self.cache.parked_bytes(&self.lower.regions);
        let not_large = slab_run_bytes + own_bytes + stats.parked_bytes;
        stats.large_bytes = regions.used.saturating_sub(not_large);
        stats
    }

    /// Counts of one class.
    #[must_use]
    pub fn class_stats(&self, class: Class) -> ClassStats {
        let slabs = self.lower.slabs.stats(class);
        ClassStats { slabs: slabs.slabs, capacity: slabs.capacity, free: slabs.free }
    }
}

#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod nodes_tests;

#[cfg(all(test, loom))]
#[path = "heap_models.rs"]
mod models;
