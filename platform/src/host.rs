//! User space: the heap of the process, and further ones beside it.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use granule_core::Config;
use granule_core::base::limits::Limits;
#[cfg(target_os = "linux")]
use granule_core::base::sampling::Sampling;
use granule_core::base::tier::Tier;

use crate::imp::env::HostEnv;
use crate::imp::front::HostSlots;
use crate::imp::pages::HostPages;
use crate::user::numbered::ThreadCaches;

/// Pages for sheaves and slots at a time: 512 KiB, resident as they are used.
const POOL_PAGES: u32 = 128;

/// The configuration of the process's heap: a cache per CPU where the kernel
/// has what that needs, per thread elsewhere, see [`caches`](crate::caches).
#[derive(Clone, Copy, Debug)]
pub struct ProcessConfig;

impl Config for ProcessConfig {
    type Pages = HostPages;
    type Front = HostSlots;
    type Env = HostEnv;

    /// Linux's alone tells nodes apart.
    #[cfg(target_os = "linux")]
    const NODES: u16 = crate::imp::numa::MOST;
    const POOL_PAGES: u32 = POOL_PAGES;
    const LAZY_PAGES: bool = true;
    const MAX_TIER: Tier = Tier::Full;
    /// Where an access that faults can be reported.
    const SAMPLES: bool = cfg!(target_os = "linux");

    #[inline]
    fn tier() -> Tier {
        crate::imp::settings::tier()
    }

    #[inline(always)]
    fn limits() -> Limits {
        crate::imp::settings::limits()
    }

    #[cfg(target_os = "linux")]
    fn sampling() -> Sampling {
        crate::user::sampling::sampling()
    }
}

/// The type of the process's heap.
pub type ProcessHeap = granule_core::Heap<ProcessConfig>;

static PROCESS: ProcessHeap = granule_core::Heap::new(HostPages::new(), HostSlots::new());

/// The heap of the process: what [`Granule`] and the C library serve from.
#[inline(always)]
pub fn process_heap() -> &'static ProcessHeap {
    &PROCESS
}

/// The configuration of a [`Heap`]: a cache for each of the first
/// 256 threads alive, found by a number of the thread.
#[derive(Clone, Copy, Debug)]
pub struct HeapConfig;

impl Config for HeapConfig {
    type Pages = HostPages;
    type Front = ThreadCaches;
    type Env = HostEnv;

    const POOL_PAGES: u32 = POOL_PAGES;
    const LAZY_PAGES: bool = true;
}

/// A heap of its own beside the process's: its blocks share nothing with
/// those of other heaps, not a page and not a lock.
///
/// ```
/// use std::alloc::Layout;
///
/// static SCRATCH: granule::Heap = granule::new_heap();
/// let layout = Layout::new::<[u64; 8]>();
/// let block = std::ptr::NonNull::new(SCRATCH.alloc(layout)).expect("memory");
/// // SAFETY: the block is live and of that layout.
/// unsafe { SCRATCH.dealloc(block, layout) };
/// ```
pub type Heap = granule_core::Heap<HeapConfig>;

/// An empty [`Heap`], for a `static`: its memory is never taken down.
///
/// `fork` in a process with threads is made safe for the process's heap alone:
/// the child may use this one only if the program calls
/// [`before_fork`](granule_core::Heap::before_fork) and
/// [`after_fork`](granule_core::Heap::after_fork) around it.
#[must_use]
pub const fn new_heap() -> Heap {
    granule_core::Heap::new(HostPages::new(), ThreadCaches::new())
}

// A heap is a plain static, shared by all threads.
static_assertions::assert_impl_all!(ProcessHeap: Sync);
static_assertions::assert_impl_all!(Heap: Sync);

/// The process's heap as a Rust global allocator, and as an
/// [`Allocator`](crate::doors::Allocator).
///
/// ```
/// #[global_allocator]
/// static GLOBAL: granule::Granule = granule::Granule::new();
///
/// let words: Vec<String> = ["one", "heap"].map(String::from).to_vec();
/// assert!(granule::process_heap().stats().live_bytes() > 0);
/// # drop(words);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Granule;

impl Granule {
    /// A handle on the process's heap. All handles are the same.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

// SAFETY: forwards to the process's heap, which keeps the contract.
unsafe impl GlobalAlloc for Granule {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PROCESS.alloc(layout)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PROCESS.alloc_zeroed(layout)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe { PROCESS.dealloc(NonNull::new_unchecked(pointer), layout) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the trait's caller passes a live block, never null.
        unsafe { PROCESS.realloc(NonNull::new_unchecked(pointer), layout, new_size) }
    }
}

granule_core::allocator_through!([] Granule, _this => &PROCESS);
