//! A small kernel of the design that x86-64 tutorials teach, and granule as
//! its global allocator. See the README beside it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod kernel;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a kernel: build it for x86_64-unknown-none and boot it in QEMU");
    std::process::exit(2);
}
