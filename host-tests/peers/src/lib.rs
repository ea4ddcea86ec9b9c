//! The allocators granule is measured against: one binary for each, which runs
//! `granule-patterns` on it as Rust's global allocator.
//!
//! Nothing is built unless its feature is named. `cargo xtask bench` also takes
//! the sources of these crates to build libraries to preload.
