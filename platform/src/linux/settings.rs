//! The environment, read in place: without allocating, before `main`, on slow
//! paths.
//!
//! `GRANULE_FRONTEND` (`rseq`, `thread`) and `GRANULE_NUMA` are Linux's alone, see
//! [`choice`](super::choice) and [`numa`](super::numa); the others are [`shared`]'s.

use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use granule_core::base::limits::Limits;

use super::env::told;
use crate::user::sampling;
use crate::user::settings::{self as shared, NotYet, Variables};
use crate::user::unix;

pub(crate) use shared::tier;

/// Whether `environ` is what it will be.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The C library is set up. Sets aside what `GRANULE_RESERVE` says.
pub(super) fn program_starts() {
    STARTED.store(true, Relaxed);
    if sampling::settle::<Environ>() {
        crate::process_heap().sampling_is_known();
    }
    shared::set_aside::<Environ>();
}

/// The process's environment.
pub(super) struct Environ;

impl Variables for Environ {
    fn with<R>(name: &[u8], with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, NotYet> {
        variable(name).map(with)
    }
}

#[cfg(all(granule_portable, not(granule_portable = "keys")))]
impl Variables for super::threads::LinuxThread {
    fn with<R>(name: &[u8], with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, NotYet> {
        Environ::with(name, with)
    }
}

/// The value of a variable; `Ok(None)` when it is not set, `Err` when there
/// is no environment yet. Every look at the environment comes by here.
///
/// None is set for a process that has more rights than who started it (set-user-id
/// and the like), who wrote its environment: as the loader says of its variables.
pub(super) fn variable(name: &[u8]) -> Result<Option<&'static [u8]>, NotYet> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's; where it has been set it is a list of strings
    // that ends with null, and programs that change it must not do so while
    // others read (POSIX).
    let list = unsafe { environ };
    if list.is_null() {
        // Not yet, or never: the program may have cleared it.
        return if STARTED.load(Relaxed) { Ok(None) } else { Err(NotYet) };
    }
    if told(libc::AT_SECURE) != 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    Ok(unsafe { unix::find(list, name) })
}

/// The limits that the environment says; balanced ones until it is known.
#[inline(always)]
pub(crate) fn limits() -> Limits {
    let limits = shared::limits::<Environ>();
    // The kernel's numbers of CPUs move with the threads, so all are drained.
    Limits { drain_idle_ms: 10 * limits.purge_delay_ms.clamp(20, 1000), ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let path = std::env::var("PATH").expect("tests have a path");
        assert_eq!(variable(b"PATH").expect("started"), Some(path.as_bytes()));
        assert_eq!(variable(b"PAT").expect("started"), None);
        assert_eq!(variable(b"GRANULE_NOT_SET").expect("started"), None);
    }
}
