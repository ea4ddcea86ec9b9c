//! QEMU's `virt` machine for riscv64.
#![no_std]
#![cfg(target_os = "none")]
