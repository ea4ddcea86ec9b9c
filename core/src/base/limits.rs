//! How much a heap keeps: everything that trades memory for speed, together.

/// What a heap keeps and for how long. In bytes and milliseconds.
///
/// ```
/// use granule_core::base::limits::Limits;
///
/// // As the preset, but idle memory stays for a second.
/// const PATIENT: Limits = Limits { purge_delay_ms: 1000, ..Limits::BALANCED };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Full sheaves that one CPU stashes away beyond the one in use and one more of
    /// each class, in bytes of objects: at least this much, whatever the size of the
    /// heap ...
    pub stash_min: usize,
    /// ... and at most this much. In between, a fraction of the heap.
    pub stash_max: usize,
    /// Memory in runs that CPUs cache: so much for each CPU, however small the
    /// heap ...
    pub runs_min: usize,
    /// ... and at most this much for all of them, or that. In between, a fourth
    /// of the heap.
    pub runs_max: usize,
    /// Bytes of objects of one class that the shared depot holds: at least
    /// this much ...
    pub depot_min: usize,
    /// ... and at most this much. In between, a fraction of the heap.
    pub depot_max: usize,
    /// Time without a miss after which a CPU's cache is drained, where the
    /// front end can stop any CPU at little cost; [`NEVER`](Self::NEVER) else.
    /// A CPU that only hits counts as idle, and pays some misses a time.
    pub drain_idle_ms: u32,
    /// Free runs of at least this many pages (of 4 KiB) are purged when idle for the
    /// delay. Shorter ones, down to a quarter of it, rest longer: as many times the
    /// delay as they go into this many pages, rounded up.
    pub purge_min_pages: u32,
    /// Time after which an idle free run is purged; 0 at the next occasion.
    pub purge_delay_ms: u32,
    /// Idle memory is purged before its time when what is in use and what is free
    /// are together so many per cent above what was in use at once lately ...
    /// [`NEVER`](Self::NEVER) turns that off, and that what a large block is shrunk by,
    /// from 256 KiB on, goes back at once.
    pub excess_percent: u32,
    /// ... and so many bytes above it.
    pub excess_min: usize,
    /// Time after which an empty region is released.
    pub release_delay_ms: u32,
    /// Free memory that stays, however long it is idle: what is resident is
    /// purged down to so much, and no region is released whose free pages
    /// are needed to have so many. [`Heap::reclaim`](crate::Heap::reclaim) gives
    /// back this, too.
    pub resident_min: usize,
    /// Bytes that a region commits at a time, where the provider commits: at
    /// least this much, while it is small ...
    pub commit_min: usize,
    /// ... and at most this much. In between, half of what it has.
    pub commit_max: usize,
    /// Whether memory may be in huge pages.
    pub huge_pages: HugePages,
    /// Which node memory is taken from, where there is more than one.
    pub placement: Placement,
}

/// Which node of memory a block comes from, where provider and heap know more
/// than one ([`Config::NODES`](crate::Config::NODES)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The caller's, as the front end says; others when that is short. Objects
    /// that are freed elsewhere go home when a CPU's cache overflows.
    Local,
    /// All in turn, a run of pages at a time: for data that all CPUs use alike.
    Interleaved,
    /// Node 0; others when that is short.
    FirstNode,
}

/// Whether memory may be in huge pages of 2 MiB, where the provider has them
/// ([`Capabilities::HUGE`](crate::provider::Capabilities::HUGE)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// The provider is told not to use any: resident memory is what was
    /// touched, and no more.
    Refused,
    /// The provider is told so for the first 128 MiB of each region, so that
    /// small heaps stay small where the machine gives everybody huge pages;
    /// beyond, nothing is said.
    AsTheMachine,
    /// Memory is used so that huge pages can be behind it: committed in whole
    /// ones, for which the provider is told, and purged in whole ones, so that none is
    /// broken up but when memory is short. What is resident comes and goes in
    /// steps of 2 MiB.
    Wanted,
}

/// When pages that are set aside get memory behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// When they are first touched, where the provider's pages are such.
    WhenTouched,
    /// At once: they are touched beforehand.
    AtOnce,
}

impl Limits {
    /// For a time: never.
    pub const NEVER: u32 = u32::MAX;

    /// As fast as most programs can use, without keeping much: 10 ms until
    /// idle memory is purged were measured to cost 13 % CPU, 500 ms 3.6 % more
    /// resident memory.
    pub const BALANCED: Self = Self {
        stash_min: 128 << 10,
        stash_max: 2 << 20,
        runs_min: 2 << 20,
        runs_max: 64 << 20,
        depot_min: 64 << 10,
        depot_max: 512 << 10,
        drain_idle_ms: Self::NEVER,
        purge_min_pages: 16,
        purge_delay_ms: 100,
        excess_percent: 25,
        excess_min: 2 << 20,
        release_delay_ms: 5000,
        resident_min: 0,
        commit_min: 1 << 20,
        commit_max: 16 << 20,
        huge_pages: HugePages::AsTheMachine,
        placement: Placement::Local,
    };

    /// Little is kept, and not for long.
    pub const FRUGAL: Self = Self {
        stash_min: 16 << 10,
        stash_max: 256 << 10,
        runs_min: 2 << 20,
        runs_max: 16 << 20,
        depot_min: 16 << 10,
        depot_max: 128 << 10,
        drain_idle_ms: Self::NEVER,
        purge_min_pages: 4,
        purge_delay_ms: 20,
        excess_percent: 12,
        excess_min: 1 << 20,
        release_delay_ms: 500,
        resident_min: 0,
        commit_min: 256 << 10,
        commit_max: 2 << 20,
        huge_pages: HugePages::Refused,
        placement: Placement::Local,
    };

    /// Much is kept, and for long.
    pub const THROUGHPUT: Self = Self {
        stash_min: 256 << 10,
        stash_max: 8 << 20,
        runs_min: 4 << 20,
        runs_max: 512 << 20,
        depot_min: 256 << 10,
        depot_max: 4 << 20,
        drain_idle_ms: Self::NEVER,
        purge_min_pages: 16,
        purge_delay_ms: 2000,
        excess_percent: Self::NEVER,
        excess_min: 0,
        release_delay_ms: 60_000,
        resident_min: 16 << 20,
        commit_min: 4 << 20,
        commit_max: 64 << 20,
        huge_pages: HugePages::AsTheMachine,
        placement: Placement::Local,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::BALANCED
    }
}
