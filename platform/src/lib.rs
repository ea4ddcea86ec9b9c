#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![doc = include_str!("../README.md")]

// For a thread's words, where no assembly finds them.
#[cfg(any(test, all(target_os = "linux", granule_portable, not(granule_portable = "keys"))))]
extern crate std;

pub use granule_core as core_api;
pub use granule_core::{
    Config, Environment, FrontEnd, PageProvider, arena, base, cache, doors, observe, pools,
    provider,
};

pub mod kernel;

// The one seam: an operating system's module has these names.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as imp;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as imp;

#[cfg(target_os = "linux")]
pub mod heap;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod host;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod outlined;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
mod user;
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
pub use self::{
    host::{Granule, Heap, HeapConfig, ProcessConfig, ProcessHeap, new_heap, process_heap},
    imp::{choice::caches, env::HostEnv, front::HostSlots, pages::HostPages, threads::ThreadCpu},
    outlined::{Outlined, outlined},
    user::{caches::Caches, numbered::ThreadCaches},
};
