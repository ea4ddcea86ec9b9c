//! macOS user space: pages from `mmap`, caches per thread.
//!
//! Compiled with the rest, for Apple's processors and Intel's, and never run:
//! what is here is what the manuals say.

pub(crate) mod env;
pub(crate) mod fork;
pub(crate) mod pages;
pub(crate) mod settings;

pub(crate) use crate::user::{front, keyed as threads};

pub(crate) mod choice {
    //! Threads have the caches: there is nothing to choose but when.

    pub use super::front::caches;
}
