#![no_std]
#![doc = include_str!("../README.md")]

#[cfg(test)]
extern crate std;

pub use granule_core as core_api;
pub use granule_core::{
    Config, Environment, FrontEnd, PageProvider, base, cache, observe, provider,
};

pub mod kernel;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
pub use host::{Granule, Heap, HeapConfig, ProcessConfig, ProcessHeap, new_heap, process_heap};
#[cfg(target_os = "linux")]
pub use imp::{
    choice::{Caches, caches},
    env::HostEnv,
    front::HostSlots,
    pages::HostPages,
    threads::ThreadCpu,
};
