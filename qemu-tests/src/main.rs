//! A small kernel that runs a table of cases on granule.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod kernel;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a kernel: run it by `cargo xtask qemu`");
    std::process::exit(2);
}
