//! What the process's heap is without assembly, with `--cfg granule_portable`:
//! the names of the modules that have some.
//!
//! Threads have the caches, with the front end of systems that have nothing else.
//! Every access is the compiler's or the C library's, so sanitizers see it, and
//! processors that nobody has written sequences for are served. A thread's words are
//! the standard library's; with `--cfg granule_portable="keys"` beside it they are
//! values of keys, as on macOS, and no library of Rust's is needed.

#[cfg(granule_portable = "keys")]
pub(crate) mod keys;
#[cfg(not(granule_portable = "keys"))]
pub(crate) mod words;

#[cfg(granule_portable = "keys")]
pub(crate) use self::keys::{self as tls, front, threads};
#[cfg(not(granule_portable = "keys"))]
pub(crate) use self::words::{self as tls, front};

pub(crate) mod choice {
    //! Threads have the caches: there is nothing to choose but when.

    pub use super::front::caches;
    pub(in crate::linux) use crate::user::front::settle;

    /// Chooses, if nobody has.
    pub(in crate::linux) fn choose_now() {
        crate::user::front::chosen();
    }
}

pub(crate) mod rseq {
    //! No areas that the kernel shares with threads.

    /// The node of the CPU that the caller runs on: no area says it.
    pub(in crate::linux) fn node() -> Option<u32> {
        None
    }

    /// There is nothing to take back.
    #[cfg(not(granule_portable = "keys"))]
    pub(in crate::linux) fn thread_ends() {}
}

pub(crate) mod single {
    //! No look at the C library's flag, whose address only assembly can ask for
    //! where the library may not have it.

    /// Every process counts as one of several threads.
    pub(in crate::linux) fn is_alone() -> bool {
        false
    }
}
