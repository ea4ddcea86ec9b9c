//! Further words of each thread, beside those of [`keyed`](crate::user::keyed).

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::user::keyed::HostThread;
use crate::user::unix::Key;

pub(crate) use crate::user::front;

static SCOPE: Key = Key::new(None);

/// The calling thread's heap for a while: null outside.
pub(crate) fn scope() -> *mut c_void {
    SCOPE.value()
}

/// Sets it.
pub(crate) fn set_scope(word: *mut c_void) {
    SCOPE.set(word);
}

/// The calling thread's number by the kernel: asked for each time, because to keep
/// it may allocate, and who asks may hold locks.
pub(in crate::linux) fn thread() -> *mut c_void {
    null_mut()
}

/// Does nothing, see [`thread`].
pub(in crate::linux) fn set_thread(_number: *mut c_void) {}

pub(crate) mod threads {
    //! Threads, by keys.

    pub use crate::user::keyed::ThreadCpu;
    pub(crate) use crate::user::keyed::{HostThread, own_number};

    /// In the child of a fork: takes the numbers of all threads back but the
    /// caller's.
    pub(in crate::linux) fn keep_own_numbers_only() {
        crate::user::threads::keep_own_index_only::<HostThread>();
    }
}

impl crate::user::settings::Variables for HostThread {
    fn with<R>(
        name: &[u8],
        with: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, crate::user::settings::NotYet> {
        super::super::settings::variable(name).map(with)
    }
}
