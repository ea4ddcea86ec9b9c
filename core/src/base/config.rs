//! Configuration: one type per kind of heap.

use super::env::Environment;
use crate::cache::FrontEnd;
use crate::provider::PageProvider;

/// Everything a heap is made of, chosen at compile time: where pages come
/// from, how CPUs (or threads) find their caches, what surrounds it, and how
/// much it keeps. Constants, not features, so that several kinds of heap may
/// live in one program.
pub trait Config: Sized + 'static {
    /// Where memory comes from.
    type Pages: PageProvider;
    /// How a CPU or thread finds its cache.
    type Front: FrontEnd<Self::Env>;
    /// What surrounds the heap.
    type Env: Environment;

    /// Full sheaves that one CPU stashes away beyond the one in use, in bytes
    /// of objects: at least this much, whatever the size of the heap.
    const STASH_MIN: usize = 64 << 10;
    /// ... and at most this much. In between, a fraction of the heap.
    const STASH_MAX: usize = 2 << 20;
    /// Largest run, in bytes, that one CPU keeps for its next large request.
    const PARKED_MAX: usize = 2 << 20;
    /// Bytes of objects of one class that the shared depot holds: at least
    /// this much ...
    const DEPOT_MIN: usize = 64 << 10;
    /// ... and at most this much. In between, a fraction of the heap.
    const DEPOT_MAX: usize = 512 << 10;
    /// Pages taken at a time for sheaves and slots, which never go back: many
    /// where untouched pages cost nothing, so that they lie together and do
    /// not pin regions that could be released; few elsewhere.
    const POOL_PAGES: u32 = 4;
    /// Milliseconds without a miss after which a CPU's cache is drained,
    /// where the front end can stop any CPU at little cost; `u32::MAX` never.
    /// A CPU that only hits counts as idle, and pays some misses a time.
    const DRAIN_IDLE_MS: u32 = u32::MAX;
    /// Free runs of at least this many pages are purged when idle.
    const PURGE_MIN_PAGES: u32 = 16;
    /// Milliseconds after which an idle free run is purged; 0 at the next
    /// occasion, `u32::MAX` never. 10 ms were measured to cost 13 % CPU,
    /// 500 ms 3.6 % more resident memory.
    const PURGE_DELAY_MS: u32 = 100;
    /// Milliseconds after which an empty region is released; `u32::MAX` never.
    const RELEASE_DELAY_MS: u32 = 5000;
}
