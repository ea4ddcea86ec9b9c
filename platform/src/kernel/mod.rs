//! For kernels and firmware: page frames, the heap of the first instructions,
//! and hooks by which the heap finds the CPU it runs on.
//!
//! Nothing here needs an operating system, an allocator or a particular
//! machine; what is a machine's own is a trait.
//!
//! - [`frames`]: page frames out of a boot memory map.

pub mod frames;
