//! The environment, read in place.

use core::ffi::c_char;

use granule_core::base::limits::Limits;

use crate::user::keyed::HostThread;
use crate::user::settings::{self as shared, NotYet, Variables};
use crate::user::unix;

pub(crate) use shared::tier;

unsafe extern "C" {
    /// Where the list of variables is: libraries have no `environ`.
    fn _NSGetEnviron() -> *const *const *const c_char;
}

impl Variables for HostThread {
    fn with<R>(name: &[u8], with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, NotYet> {
        // SAFETY: the C library's, which never is null; programs that change
        // the list must not do so while others read (POSIX).
        let list = unsafe { _NSGetEnviron().read() };
        if list.is_null() {
            return Err(NotYet);
        }
        // As on Linux: who started a process that has more rights wrote its environment.
        // SAFETY: no preconditions.
        if unsafe { libc::issetugid() } != 0 {
            return Ok(with(None));
        }
        // SAFETY: as above.
        Ok(with(unsafe { unix::find(list, name) }))
    }
}

/// The program starts. Sets aside what `GRANULE_RESERVE` says.
pub(super) fn program_starts() {
    shared::set_aside::<HostThread>();
}

/// The limits that the environment says; balanced ones until it is known.
pub(crate) fn limits() -> Limits {
    shared::limits::<HostThread>()
}
