//! Heaps besides the process's: made while the program runs, and ended with
//! all of their memory at once.
//!
//! | | |
//! |---|---|
//! | [`OwnedHeap`] | shared by threads; ends when it is dropped |
//! | [`HeapBuilder`] | a cap, and where the memory comes from: the system, the process's heap, another heap, a buffer, the program's own functions |
//! | [`LocalHeap`] | one thread's; its hits are plain code |
//! | [`owner_of`] | which heap a pointer belongs to, whatever it is |
//! | [`Scoped`], [`with_heap`] | Rust's global allocator, led to a heap for a while |
//!
//! (After mimalloc's heaps and the memory pools of oneTBB's allocator.)
//!
//! ```
//! use granule::heap::HeapBuilder;
//! use std::alloc::Layout;
//!
//! let heap = HeapBuilder::new().cap(1 << 20).build()?;
//! let block = heap.alloc(Layout::new::<[u64; 8]>());
//! assert!(!block.is_null() && heap.contains(block));
//! // More than the cap is refused, and nothing else happens.
//! assert!(heap.alloc(Layout::new::<[u8; 2 << 20]>()).is_null());
//! // Whatever is still allocated ends here.
//! drop(heap);
//! # Ok::<(), granule::heap::HeapError>(())
//! ```
//!
//! - `origin`: where memory comes from;
//! - `record`: all heaps there are, in a `roster`;
//! - `owned`: handles;
//! - `tags`: of heaps that have ended, for handles that outlive them;
//! - `scope`: the scoped override.

mod origin;
mod owned;
pub(crate) mod record;
mod roster;
mod scope;
pub(crate) mod tags;

use granule_core::Config;
use granule_core::provider::{CapTooSmall, Capped};

use crate::imp::env::HostEnv;
use crate::imp::pages::HostPages;
use crate::user::numbered::ThreadCaches;

pub use origin::{Origin, RawFault, RawMemory};
pub use owned::{HeapBuilder, HeapId, OwnedHeap, Owner, owner_of, tag_of};
pub use scope::{Scoped, heap_of, with_heap, with_heap_borrowed};
pub use tags::{TagLink, keep_tag, kept_tag};

/// The configuration of an [`OwnedHeap`]: a cache for each of the first 256
/// threads alive, found by a number of the thread.
#[derive(Clone, Copy, Debug)]
pub struct OwnedConfig;

impl Config for OwnedConfig {
    type Pages = Capped<Origin>;
    type Front = ThreadCaches;
    type Env = HostEnv;

    /// Few: such heaps may be small, and all goes back at their end.
    const POOL_PAGES: u32 = 8;
    const LAZY_PAGES: bool = true;
}

/// The heap behind an [`OwnedHeap`]: what handles on it borrow.
pub type Heap = granule_core::Heap<OwnedConfig>;

/// A heap of one thread, on memory of the system's:
/// `LocalHeap::new(HostPages::for_heaps())`.
pub type LocalHeap = granule_core::heap::LocalHeap<HostPages, HostEnv>;

/// Why there is no heap. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeapError {
    /// The cap is below what any heap needs.
    CapTooSmall(CapTooSmall),
    /// The buffer cannot hold its tables and a page.
    BufferTooSmall,
    /// The granularity of raw memory is no power of two, or below 4096.
    BadGranularity,
    /// The program's functions handed out raw memory that cannot be used; they
    /// have it back.
    Raw(RawFault),
    /// There is no memory for it.
    OutOfMemory,
}

impl From<CapTooSmall> for HeapError {
    fn from(error: CapTooSmall) -> Self {
        Self::CapTooSmall(error)
    }
}

impl core::fmt::Display for HeapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::CapTooSmall(error) => error.fmt(f),
            Self::BufferTooSmall => f.write_str("the buffer cannot hold a heap"),
            Self::BadGranularity => {
                f.write_str("the granularity is no power of two of at least 4096")
            }
            Self::Raw(fault) => fault.fmt(f),
            Self::OutOfMemory => f.write_str("no memory for a heap"),
        }
    }
}

impl core::error::Error for HeapError {}
