//! A kernel that checks a machine: every promise of its library once.
//!
//! Arguments: `exit=7` ends with that status; `hz=20000` is the timer's
//! frequency; `case=fault` reads where nothing is, `case=fault-at-top` does so
//! while the top of the address space is mapped; `page=16k` as for every kernel.
//! `targets/self-check/run` runs it in all ways.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod kernel;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a kernel: run it by targets/self-check/run");
    std::process::exit(2);
}
