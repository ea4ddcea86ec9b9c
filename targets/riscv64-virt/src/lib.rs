//! QEMU's `virt` machine for riscv64, in machine mode, without firmware.
//!
//! "Privileged ISA" is volume II of the RISC-V Instruction Set Manual, version
//! 20211203.
//!
//! Every machine of `targets/` is a library of this name and interface;
//! `targets/README.md` says what is where.
#![no_std]
#![cfg(target_os = "none")]

mod boot;
pub mod cpu;
pub mod exit;
mod interrupts;
pub mod paging;
pub mod smp;
pub mod trap;
pub mod uart;

#[path = "../../common/handlers.rs"]
mod handlers;
#[path = "../../common/ipi.rs"]
pub mod ipi;
#[path = "../../common/memory.rs"]
pub mod memory;
#[path = "../../common/output.rs"]
mod output;
#[path = "../../common/page_size.rs"]
mod page_size;
#[path = "../../common/start.rs"]
mod start;
#[path = "../../common/timer.rs"]
pub mod timer;

pub use exit::exit;
