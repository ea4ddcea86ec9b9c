//! What the environment says, read in place: without allocating, before
//! `main`, on slow paths.
//!
//! | variable | values |
//! |---|---|
//! | `GRANULE_FRONTEND` | `rseq`, `thread`; see [`choice`](super::choice) |
//! | `GRANULE_CHECK` | `none`, `basic`, `moderate`, `full`: the [`Tier`] |
//! | `GRANULE_PRESET` | `frugal`, `balanced`, `throughput`: the [`Limits`] |
//! | `GRANULE_RESERVE` | `SIZE` or `SIZE,touch`: memory to set aside at the start |
//! | `GRANULE_HUGE` | `1`, `0`: memory in huge pages, or never, [`Limits::huge_pages`] |
//!
//! A size is a decimal number of bytes, or of KiB, MiB or GiB with `K`, `M` or
//! `G` behind it.
//! Other values are as none. A variable is looked at once; what the program
//! changes later has no effect.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

use granule_core::base::limits::{Backing, HugePages, Limits};
use granule_core::base::tier::Tier;

/// Whether `environ` is what it will be.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The C library is set up. Sets aside what `GRANULE_RESERVE` says.
pub(super) fn program_starts() {
    STARTED.store(true, Relaxed);
    if let Ok(Some(value)) = variable(b"GRANULE_RESERVE")
        && let Some((bytes, backing)) = reserve_of(value)
    {
        // Where so much cannot be had the program runs as without.
        let _ = crate::process_heap().preallocate(bytes, backing);
    }
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
        return if STARTED.load(Relaxed) { Ok(None) } else { Err(NotYet) };
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

/// The tier in force. Basic until the environment is known, and unless it says
/// otherwise.
static TIER: AtomicU8 = AtomicU8::new(Tier::Basic as u8);

/// The tier of checks in force.
#[inline]
pub(crate) fn tier() -> Tier {
    // Relaxed: written once, before there is a cache or a thread that matters.
    match TIER.load(Relaxed) {
        NONE => Tier::None,
        MODERATE => Tier::Moderate,
        FULL => Tier::Full,
        _ => Tier::Basic,
    }
}

const NONE: u8 = Tier::None as u8;
const MODERATE: u8 = Tier::Moderate as u8;
const FULL: u8 = Tier::Full as u8;

/// Sets the tier to what `GRANULE_CHECK` says, and returns it.
pub(super) fn settle_tier() -> Tier {
    let tier = match variable(b"GRANULE_CHECK") {
        Ok(Some(b"none")) => Tier::None,
        Ok(Some(b"moderate")) => Tier::Moderate,
        Ok(Some(b"full")) => Tier::Full,
        _ => Tier::Basic,
    };
    TIER.store(tier as u8, Relaxed);
    tier
}

const UNKNOWN: u8 = 0;
const FRUGAL: u8 = 1;
const BALANCED: u8 = 2;
const THROUGHPUT: u8 = 3;
const PRESETS: u8 = 3;
/// Beside a preset: what is said of huge pages.
const HUGE: u8 = 4;
const NO_HUGE: u8 = 8;

static PRESET: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Bytes that are set aside, and stay.
static RESERVE: AtomicUsize = AtomicUsize::new(0);

/// The limits that the environment says; balanced ones until it is known.
pub(crate) fn limits() -> Limits {
    // Relaxed: all who look find the same.
    match PRESET.load(Relaxed) {
        UNKNOWN => find_limits(),
        number => limits_of(number, RESERVE.load(Relaxed)),
    }
}

fn limits_of(number: u8, reserve: usize) -> Limits {
    let limits = match number & PRESETS {
        FRUGAL => Limits::FRUGAL,
        THROUGHPUT => Limits::THROUGHPUT,
        _ => Limits::BALANCED,
    };
    Limits {
        // The kernel's numbers of CPUs move with the threads, so all are drained.
        drain_idle_ms: 10 * limits.purge_delay_ms.clamp(20, 1000),
        resident_min: limits.resident_min.max(reserve),
        huge_pages: match number & (HUGE | NO_HUGE) {
            HUGE => HugePages::Wanted,
            NO_HUGE => HugePages::Refused,
            _ => limits.huge_pages,
        },
        ..limits
    }
}

#[cold]
fn find_limits() -> Limits {
    let Ok(value) = variable(b"GRANULE_PRESET") else { return limits_of(BALANCED, 0) };
    let preset = match value {
        Some(b"frugal") => FRUGAL,
        Some(b"throughput") => THROUGHPUT,
        _ => BALANCED,
    };
    let number = match variable(b"GRANULE_HUGE") {
        Ok(Some(b"1")) => preset | HUGE,
        Ok(Some(b"0")) => preset | NO_HUGE,
        _ => preset,
    };
    let reserve = variable(b"GRANULE_RESERVE").ok().flatten().and_then(reserve_of);
    let reserve = reserve.map_or(0, |(bytes, _)| bytes);
    RESERVE.store(reserve, Relaxed);
    // Who sees this and not yet the other keeps less, once.
    PRESET.store(number, Relaxed);
    limits_of(number, reserve)
}

/// What `GRANULE_RESERVE` means; `None` where it means nothing.
fn reserve_of(value: &[u8]) -> Option<(usize, Backing)> {
    let (size, backing) = match value.strip_suffix(b",touch") {
        Some(size) => (size, Backing::AtOnce),
        None => (value, Backing::WhenTouched),
    };
    Some((size_of_text(size)?, backing))
}

/// A number of bytes with `K`, `M`, `G` or nothing behind it.
fn size_of_text(text: &[u8]) -> Option<usize> {
    let (digits, unit) = match text.split_last()? {
        (b'K', digits) => (digits, 1 << 10),
        (b'M', digits) => (digits, 1 << 20),
        (b'G', digits) => (digits, 1 << 30),
        _ => (text, 1usize),
    };
    // `parse` would allow a sign.
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    let number: usize = core::str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()?;
    number.checked_mul(unit)
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
        let [frugal, balanced, throughput] =
            [FRUGAL, BALANCED, THROUGHPUT].map(|one| limits_of(one, 0));
        assert_eq!(balanced, Limits { drain_idle_ms: 1000, ..Limits::BALANCED });
        assert!(frugal.stash_max < balanced.stash_max);
        assert!(balanced.stash_max < throughput.stash_max);
        assert!(frugal.purge_delay_ms < balanced.purge_delay_ms);
        assert!(frugal.commit_min < balanced.commit_min);
        assert!(balanced.resident_min < throughput.resident_min);
    }

    #[test]
    fn what_is_set_aside_stays_and_huge_pages_go_with_any_preset() {
        let limits = limits_of(THROUGHPUT | HUGE, 64 << 20);
        assert_eq!((limits.resident_min, limits.huge_pages), (64 << 20, HugePages::Wanted));
        assert_eq!(limits_of(BALANCED | NO_HUGE, 0).huge_pages, HugePages::Refused);
        assert_eq!(limits_of(FRUGAL | HUGE, 0).huge_pages, HugePages::Wanted);
        assert_eq!(limits.stash_max, Limits::THROUGHPUT.stash_max);
        assert_eq!(limits_of(THROUGHPUT, 1).resident_min, Limits::THROUGHPUT.resident_min);
    }

    #[test]
    fn sizes_have_a_unit_or_none_and_no_other_form() {
        let reserve = |text: &str| reserve_of(text.as_bytes());
        assert_eq!(reserve("64M"), Some((64 << 20, Backing::WhenTouched)));
        assert_eq!(reserve("1G,touch"), Some((1 << 30, Backing::AtOnce)));
        assert_eq!(reserve("12K"), Some((12 << 10, Backing::WhenTouched)));
        assert_eq!(reserve("4096"), Some((4096, Backing::WhenTouched)));
        for bad in ["", "M", ",touch", "64m", "64MB", "64 M", "+64M", "-1", "1.5G", "64M,", "0x10"]
        {
            assert_eq!(reserve(bad), None, "{bad:?}");
        }
        for large in ["18446744073709551616", "99999999999999999999G", "64M,touch,touch"] {
            assert_eq!(reserve(large), None, "{large:?}");
        }
    }
}
