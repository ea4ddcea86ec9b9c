//! For kernels and firmware: page frames, the heap of the first instructions,
//! and hooks by which the heap finds the CPU it runs on.
//!
//! Nothing here needs an operating system, an allocator or a particular
//! machine; what is a machine's own is a trait.
//!
//! - [`frames`]: page frames out of a boot memory map;
//! - [`cpu`]: what a kernel tells the heap about its CPUs;
//! - [`front`]: caches in the CPUs' own data;
//! - [`interrupts`]: masking them while a lock is held;
//! - `riscv`, `aarch64`, `x86_64`: both for these, ready-made;
//! - [`early`]: a heap for the time before the memory map is known;
//! - [`door`]: a kernel's global allocator: the early heap first, granule
//!   after.

pub mod cpu;
pub mod door;
pub mod early;
pub mod frames;
pub mod front;
pub mod interrupts;

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
#[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
pub mod riscv;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;
