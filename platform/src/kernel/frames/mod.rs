//! Page frames: physical memory, handed out in runs of frames.
//!
//! ```text
//! boot memory map ─ init ─▶ banks ─┬ alloc, free ─▶ page tables, DMA, stacks
//!                                  └ FramePages  ─▶ granule's heaps
//! ```
//!
//! [`Frames`] is a `static` that is told the boot memory map once, and then
//! gives runs of any number of frames at any power-of-two alignment to any CPU
//! and interrupt handler. [`FramePages`] makes a heap's pages of it.
//!
//! ```no_run
//! use granule::kernel::frames::{DirectMap, FrameFlags, Frames, MemoryRange, PhysAddr, Request};
//! # use granule::HostEnv as KernelEnv;
//!
//! static FRAMES: Frames<KernelEnv, 16> = Frames::new();
//!
//! let map = [
//!     MemoryRange::usable(PhysAddr::new(0x8000_0000), 4 << 30),
//!     MemoryRange::reserved(PhysAddr::new(0x8000_0000), 0x23_4567), // kernel
//! ];
//! // SAFETY: what the map calls usable is nobody's, and mapped one to one.
//! unsafe { FRAMES.init(&map, 4096, DirectMap::identity()) }?;
//!
//! let table = FRAMES.alloc(1)?;
//! let buffer = FRAMES.alloc_with(Request::new(256).wanting(FrameFlags::BELOW_4G))?;
//! // SAFETY: nobody uses them.
//! unsafe { FRAMES.free(table).and(FRAMES.free(buffer)) }?;
//! println!("{FRAMES}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Design
//!
//! Reserved ranges are cut out of usable ones, and each stretch that is left
//! is a *bank* with a lock of its own. A stretch that goes across 4 GiB makes
//! two, so that all of a bank has the same flags, and is on one node of memory. At its end each bank keeps
//! a bitmap of its frames (1 bit a frame) and a tree of summaries (the free
//! runs at the start, at the end and the longest of 512, 4096, … frames):
//! 39 KiB a GiB of 4 KiB frames, 0.004 %.
//!
//! A run is the *lowest* place that fits. The tree leads there: eight pieces a
//! level are looked at, and one is entered. To free is to set bits; free
//! neighbours are then one run without a step of its own, for that is what a
//! run is.
//!
//! A binary buddy system (Knowlton, *A Fast Storage Allocator*, 1965; Knuth,
//! *The Art of Computer Programming* 1, 2.5) was the alternative. It needs
//! twice the bits, one for each block and order; it splits and merges; a run
//! that is no power of two takes several blocks, and one that lies across two
//! buddies is never found, however long: of 6 free frames in the middle of 8
//! it can hand out 2 together. Address-ordered first fit keeps the high end of
//! memory in one piece. What buddies do better: an *aligned* search never
//! enters a piece in vain. Here it may, once for each piece that is larger
//! than the alignment and has a long enough run at no aligned place; the worst
//! that can be built, a comb with a free frame at every odd number, costs a
//! scan of the bitmap: 10 to 20 µs a GiB. Requests without alignment, which is
//! what heaps and page tables make, look at no more than eight pieces a level;
//! 16 GiB have six levels. A change sums up the nodes above it, as far as they
//! change. To take and free one frame costs some 400 ns together (2.5 GHz
//! x86_64), and 1 MiB about as much.
//!
//! # Invariants
//!
//! - **F1** The frames of a bank, and the frames of its tables behind them,
//!   are memory that `init` or `add` was given, of no other bank, and mapped.
//!   The tables are accessed under the bank's lock alone.
//! - **F2** A bit is 1 exactly when its frame is free: it is in no run that was
//!   handed out and not taken back, and in no bank's tables.
//! - **F3** Every node sums up its eight pieces; beyond the bank nothing is
//!   free.
//! - **F4** The count of free frames is the number of bits that are 1.
//! - **F5** Banks do not overlap, are never taken away, and keep their facts
//!   (first frame, lengths, flags).
//!
//! # Locks
//!
//! `setup` (`init` and `add`), then one bank's; never two banks at once. Each
//! is a [`Lock`](granule_core::base::sync::Lock), which keeps interrupts out
//! as the environment says, so handlers may allocate; non-maskable ones may
//! not. All are leaves for the rest of the kernel: nothing is called under
//! them, and a heap may hold its own while it calls a provider.
//!
//! # When it fails
//!
//! Every refusal names what was wrong and changes nothing; nothing panics or
//! prints.

mod address;
mod allocator;
mod bank;
mod error;
mod memory_map;
mod provider;
mod request;
mod stats;
mod summary;
mod tree;

#[cfg(test)]
mod allocator_tests;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod nodes_tests;

pub use address::{DirectMap, FrameRun, PhysAddr};
pub use allocator::Frames;
pub use error::{FrameError, MapError};
pub use memory_map::{MemoryRange, RangeKind};
pub use provider::FramePages;
pub use request::{FrameFlags, Request};
pub use stats::{BankStats, FrameStats};
