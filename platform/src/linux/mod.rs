//! Linux user space: pages from `mmap`, caches per CPU or thread, fork.
//!
//! Through `libc`, whose wrappers of these calls neither allocate nor need
//! anything set up, so that they may be called before `main`.

pub(crate) mod env;
pub(crate) mod fork;
pub(crate) mod numa;
pub(crate) mod pages;
mod remap;
mod segv;
pub(crate) mod settings;

// The seam of `--cfg granule_portable`: what assembly is for, and the same names
// without.
#[cfg(not(granule_portable))]
pub(crate) mod choice;
#[cfg(not(granule_portable))]
pub(crate) mod front;
#[cfg(granule_portable)]
mod portable;
#[cfg(not(granule_portable))]
mod rseq;
#[cfg(not(granule_portable))]
mod single;
#[cfg(not(granule_portable = "keys"))]
pub(crate) mod threads;
#[cfg(not(granule_portable))]
pub(crate) mod tls;
#[cfg(granule_portable = "keys")]
pub(crate) use portable::threads;
#[cfg(granule_portable)]
pub(crate) use portable::{choice, front, rseq, single, tls};
