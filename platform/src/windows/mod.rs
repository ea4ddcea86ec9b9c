//! Windows user space: pages from `VirtualAlloc`, caches per thread.
//!
//! Through `windows-sys`, that is the system's libraries alone: nothing here
//! allocates from a C library's heap, nor from ours. Windows 10 or later, as
//! Rust's standard library, on x86-64 and ARM64.

pub(crate) mod env;
mod large;
pub(crate) mod pages;
pub(crate) mod settings;
pub(crate) mod threads;
mod tls;
mod working_set;

pub(crate) use crate::user::front;

pub(crate) mod choice {
    //! Threads have the caches: there is nothing to choose but when.

    pub use super::front::caches;
}
