#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![doc = include_str!("../README.md")]
//! # The map of layers
//!
//! | layer | module | what |
//! |---|---|---|
//! | doors | [`doors`] | `GlobalAlloc`, `Allocator` |
//! | kits | [`pools`], [`arena`] | where a general heap is the wrong tool |
//! | 5 | [`heap`] | routes by size; realloc; out of memory |
//! | 4 | [`cache`] | per-CPU sheaves behind the CPU hook; depot |
//! | 3 | `slab` | slabs of one class; bitmaps |
//! | 2 | `region` | coalescing runs; purge and release |
//! | 1 | [`provider`] | the trait [`PageProvider`] |
//! | 0 | [`base`] | classes, configuration, environment, locks |
//!
//! A layer calls only downwards; results rise as return values.

#[cfg(any(test, loom))]
extern crate std;

pub mod arena;
pub mod base;
pub mod cache;
pub mod check;
pub mod doors;
pub mod heap;
pub mod observe;
pub mod pools;
pub mod provider;

mod region;
mod slab;

pub use base::config::Config;
pub use base::env::Environment;
pub use cache::FrontEnd;
pub use heap::Heap;
pub use provider::PageProvider;
