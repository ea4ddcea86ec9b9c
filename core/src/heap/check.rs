//! The walk over a whole heap: its invariants, verified.

use super::Heap;
use crate::base::class::{CLASSES, Class};
use crate::base::config::Config;
use crate::base::units::PAGE_SIZE;
use crate::base::violation::Violation;

/// What a walk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Used runs.
    pub runs: usize,
    /// Slabs among them.
    pub slabs: usize,
    /// Cached runs among them.
    pub parked: usize,
    /// Bytes in all of them.
    pub bytes: usize,
    /// Cached objects.
    pub cached: usize,
}

impl<C: Config> Heap<C> {
    /// Walks the whole heap and verifies what `DESIGN.md` says of it: every
    /// page in exactly one run, free runs merged and in their bins, slabs
    /// where their class says, with bitmaps that agree with their counts, each
    /// cached object one of its class that is not free in its slab, each
    /// cached run one of its class, none of them cached twice, and that all
    /// sums are right. For tests, and for who suspects a wild write.
    ///
    /// Takes time in proportion to the heap, much of it under the lock of the
    /// regions, and to what is cached of each class times the windows of 16,384
    /// objects that it is spread over; 2 KiB of stack, and allocates nothing.
    ///
    /// The heap must be at rest: counts are taken one after the other, so what
    /// others do meanwhile may be reported as a fault. That of a child of `fork` is,
    /// whatever its parent's threads were doing ([`before_fork`](Self::before_fork)).
    ///
    /// # Errors
    ///
    /// The first invariant that does not hold.
    pub fn check(&self) -> Result<Checked, Violation> {
        let mut seen = Checked::default();
        let mut slabs = [0usize; CLASSES];
        let mut large = 0;
        self.lower.regions.walk(|run| {
            let (address, bytes) = (run.start.addr().get(), run.pages.bytes());
            seen.runs += 1;
            seen.bytes += bytes;
            if run.class.is_small() {
                seen.slabs += 1;
                slabs[run.class.index()] += 1;
                let whole = run.class.info().slab_pages as usize * PAGE_SIZE;
                let right = bytes == whole && address.is_multiple_of(whole);
                Violation::unless(right, "S4", "a slab of another length or place", address)
            } else {
                large += bytes;
                let right = run.class == Class::LARGE || bytes >= run.class.size();
                Violation::unless(right, "K1", "a run that is shorter than its class", address)
            }
        })?;
        self.lower.slabs.check()?;
        for class in Class::all() {
            let stats = self.lower.slabs.stats(class);
            let counted = stats.slabs == slabs[class.index()];
            Violation::unless(counted, "S4", "a slab that its class does not count", 0)?;
            let sane = stats.free <= stats.capacity;
            Violation::unless(sane, "S3", "more free objects than there are", 0)?;
        }
        let parked = self.cache.check_runs(&self.lower.regions)?;
        seen.parked = parked.runs;
        let stats = self.stats();
        let mut cached = 0;
        for class in Class::all() {
            let verify = |object| self.lower.slabs.check_cached(&self.lower.regions, class, object);
            let count = self.cache.check_class(class, verify)?;
            seen.cached += count.objects;
            cached += count.bytes;
        }
        let counted = stats.cached_bytes == cached;
        Violation::unless(counted, "C1", "a count that is not of what is cached", 0)?;
        let room = stats.slab_free_bytes + stats.cached_bytes <= stats.slab_bytes;
        Violation::unless(room, "C1", "more objects free or cached than there are", 0)?;
        let own = stats.own_bytes + parked.bytes <= large;
        Violation::unless(own, "C2", "memory of the heap's own that is in no run", 0)?;
        let all = self.lower.regions.stats().used == seen.bytes;
        Violation::unless(all, "R1", "used pages that are in no run", 0)?;
        Ok(seen)
    }
}
