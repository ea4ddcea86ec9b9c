//! What the environment says, read in place: without allocating, before
//! `main`, on slow paths.
//!
//! | variable | values |
//! |---|---|
//! | `GRANULE_FRONTEND` | `rseq`, `thread`; see [`choice`](super::choice) |
//! | `GRANULE_PRESET` | `frugal`, `balanced`, `throughput`: the [`Limits`] |
//!
//! Other values are as none. A variable is looked at once; what the program
//! changes later has no effect.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use granule_core::base::limits::Limits;

/// Whether `environ` is what it will be.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The C library is set up.
pub(super) fn program_starts() {
    STARTED.store(true, Ordering::Relaxed);
}

/// The value of a variable; `Ok(None)` when it is not set, `Err` when there
/// is no environment yet.
pub(super) fn variable(name: &[u8]) -> Result<Option<&'static [u8]>, NotYet> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's; where it has been set it is a list of strings
    // that ends with null, and programs that change it must not do so while
    // others read (POSIX).
    let mut at = unsafe { environ };
    if at.is_null() {
        // Not yet, or never: the program may have cleared it.
        return if STARTED.load(Ordering::Relaxed) { Ok(None) } else { Err(NotYet) };
    }
    // SAFETY: as above.
    while let Some(entry) = unsafe { at.read().as_ref() } {
        // SAFETY: as above, a string.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        let value = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="));
        if value.is_some() {
            return Ok(value);
        }
        // SAFETY: null has not been reached.
        at = unsafe { at.add(1) };
    }
    Ok(None)
}

/// There is no environment yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotYet;

const UNKNOWN: u8 = 0;
const FRUGAL: u8 = 1;
const BALANCED: u8 = 2;
const THROUGHPUT: u8 = 3;

static PRESET: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The limits that `GRANULE_PRESET` names; balanced ones until it is known.
pub(crate) fn limits() -> Limits {
    // Relaxed: all who look find the same.
    match PRESET.load(Ordering::Relaxed) {
        UNKNOWN => find_limits(),
        number => limits_of(number),
    }
}

fn limits_of(number: u8) -> Limits {
    let limits = match number {
        FRUGAL => Limits::FRUGAL,
        THROUGHPUT => Limits::THROUGHPUT,
        _ => Limits::BALANCED,
    };
    // The kernel's numbers of CPUs move with the threads, so all are drained.
    Limits { drain_idle_ms: 10 * limits.purge_delay_ms.clamp(20, 1000), ..limits }
}

#[cold]
fn find_limits() -> Limits {
    let Ok(value) = variable(b"GRANULE_PRESET") else { return limits_of(BALANCED) };
    let number = match value {
        Some(b"frugal") => FRUGAL,
        Some(b"throughput") => THROUGHPUT,
        _ => BALANCED,
    };
    PRESET.store(number, Ordering::Relaxed);
    limits_of(number)
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

    #[test]
    fn presets_are_apart() {
        let [frugal, balanced, throughput] = [FRUGAL, BALANCED, THROUGHPUT].map(limits_of);
        assert_eq!(balanced, Limits { drain_idle_ms: 1000, ..Limits::BALANCED });
        assert!(frugal.stash_max < balanced.stash_max);
        assert!(balanced.stash_max < throughput.stash_max);
        assert!(frugal.purge_delay_ms < balanced.purge_delay_ms);
    }
}
