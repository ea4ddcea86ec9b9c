//! Counts of a heap, in bytes unless said otherwise.
//!
//! `slab_bytes = live small objects + slab_free_bytes + cached_bytes`: no hit
//! path counts anything, so the live bytes are what is left.

use core::fmt;

/// Counts of a whole heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Regions (number).
    pub regions: usize,
    /// Address space reserved.
    pub reserved: usize,
    /// Pages committed, used or not.
    pub committed: usize,
    /// Free pages that may have memory behind them: idle ones go back, but for
    /// [`Limits::resident_min`](crate::base::limits::Limits::resident_min).
    pub resident_free_bytes: usize,
    /// Slabs (number).
    pub slabs: usize,
    /// All objects that the slabs have room for.
    pub slab_bytes: usize,
    /// Objects free in slabs.
    pub slab_free_bytes: usize,
    /// Pages of slabs, without an object in use, whose memory was given back.
    pub slab_purged_bytes: usize,
    /// Objects cached in slots and depot.
    pub cached_bytes: usize,
    /// Runs of pages cached for the next large blocks.
    pub parked_bytes: usize,
    /// Freed blocks that wait before they are used again, in the tier that
    /// does so; they count as live as well.
    pub quarantined_bytes: usize,
    /// Runs of pages handed out as large blocks.
    pub large_bytes: usize,
    /// Memory for sheaves, slots and the directory of regions.
    pub own_bytes: usize,
    /// Caches of CPUs or threads in use (number).
    pub slots: usize,
}

impl Stats {
    /// Live bytes, rounded up to classes and pages.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.live_small_bytes() + self.large_bytes
    }

    /// Live bytes in slabs, rounded up to classes.
    #[must_use]
    pub fn live_small_bytes(&self) -> usize {
        self.slab_bytes.saturating_sub(self.slab_free_bytes + self.cached_bytes)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "live       {:>14} B ({} in runs)", self.live_bytes(), self.large_bytes)?;
        writeln!(f, "cached     {:>14} B in {} caches", self.cached_bytes, self.slots)?;
        writeln!(f, "free       {:>14} B in {} slabs", self.slab_free_bytes, self.slabs)?;
        writeln!(f, "committed  {:>14} B in {} regions", self.committed, self.regions)?;
        write!(f, "own        {:>14} B for caches", self.own_bytes)
    }
}

/// Counts of one CPU's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// Objects cached, in bytes.
    pub cached_bytes: usize,
    /// Runs cached for the next large blocks, in bytes.
    pub parked_bytes: usize,
    /// How often an allocation found the cache's sheaf empty, modulo 2^32.
    pub refills: u32,
    /// How often a free found it full, modulo 2^32.
    pub overflows: u32,
}

/// Counts of one class, in objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Slabs.
    pub slabs: usize,
    /// Objects that the slabs have room for.
    pub capacity: usize,
    /// Objects free in slabs.
    pub free: usize,
}
