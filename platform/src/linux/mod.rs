//! Linux user space: pages from `mmap`, caches per CPU or thread, fork.
//!
//! Through `libc`, whose wrappers of these calls neither allocate nor need
//! anything set up, so that they may be called before `main`.

pub(crate) mod choice;
pub(crate) mod env;
mod fork;
pub(crate) mod front;
pub(crate) mod numa;
pub(crate) mod pages;
mod rseq;
mod segv;
pub(crate) mod settings;
mod single;
pub(crate) mod threads;
pub(crate) mod tls;
