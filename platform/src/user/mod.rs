//! What the shims of operating systems with user space share.
//!
//! An operating system's module (`linux`, `windows`, `macos`) brings pages, an
//! environment, and what a thread is: [`threads::Thread`]. It may have a front
//! end of its own, as Linux has, or that of `front`.
//!
//! - [`caches`]: who has the caches;
//! - [`choice`]: a choice that is made once;
//! - `front`: the front end where threads have the caches, always;
//! - [`indices`]: small numbers, handed out without a lock;
//! - `keyed`: what a thread is, by keys alone;
//! - [`numbered`]: the front end of heaps besides the process's;
//! - [`report`]: the text of a fault;
//! - `sampling`: how often guard pages are put around a block;
//! - [`settings`]: what the environment says;
//! - [`threads`]: a cache per thread, a number per thread;
//! - `unix`: keys of threads, the list of variables.

pub(crate) mod caches;
pub(crate) mod choice;
#[cfg(any(not(target_os = "linux"), granule_portable))]
pub(crate) mod front;
pub(crate) mod indices;
#[cfg(any(target_os = "macos", granule_portable = "keys"))]
pub(crate) mod keyed;
pub(crate) mod numbered;
pub(crate) mod report;
#[cfg(target_os = "linux")]
pub(crate) mod sampling;
pub(crate) mod settings;
pub(crate) mod threads;
#[cfg(unix)]
pub(crate) mod unix;
