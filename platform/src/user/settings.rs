//! What the environment says, in every operating system.
//!
//! | variable | values |
//! |---|---|
//! | `GRANULE_CHECK` | `none`, `basic`, `moderate`, `full`: the [`Tier`] |
//! | `GRANULE_PRESET` | `frugal`, `balanced`, `throughput`: the [`Limits`] |
//! | `GRANULE_RESERVE` | `SIZE` or `SIZE,touch`: memory to set aside at the start |
//! | `GRANULE_HUGE` | `1`, `0`: memory in huge pages, or never, [`Limits::huge_pages`] |
//!
//! A size is a decimal number of bytes, or of KiB, MiB or GiB with `K`, `M` or
//! `G` behind it.
//! Other values are as none. A variable is looked at once; what the program
//! changes later has no effect.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use granule_core::base::limits::{Backing, HugePages, Limits};
use granule_core::base::tier::Tier;

/// An environment of names and values, which may be asked on slow paths.
pub(crate) trait Variables {
    /// Calls `with` with the value of a variable, `None` where it is not set
    /// (or longer than any that means something), and returns what that does.
    /// Allocates nothing.
    ///
    /// # Errors
    ///
    /// [`NotYet`].
    fn with<R>(name: &[u8], with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, NotYet>;
}

/// There is no environment yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotYet;

/// The program starts: sets aside what `GRANULE_RESERVE` says. Where so much cannot be
/// had the program runs as without.
pub(crate) fn set_aside<V: Variables>() {
    let asked = V::with(b"GRANULE_RESERVE", |value| value.and_then(reserve_of));
    let Some((bytes, backing)) = asked.ok().flatten() else { return };
    if crate::process_heap().preallocate(bytes, backing).is_ok() {
        // Not before: what was refused would keep all else from being purged. Relaxed:
        // who does not see it yet keeps less, once, as before the program started.
        RESERVE.store(bytes, Relaxed);
    }
}

/// The tier in force. Basic until the environment is known, and unless it says
/// otherwise.
static TIER: AtomicU8 = AtomicU8::new(Tier::Basic as u8);

/// The tier of checks in force.
#[inline]
pub(crate) fn tier() -> Tier {
    // Relaxed: written once, before there is a cache or a thread that matters.
    match TIER.load(Relaxed) {
        NONE => Tier::None,
        BASIC => Tier::Basic,
        MODERATE => Tier::Moderate,
        _ => Tier::Full,
    }
}

const NONE: u8 = Tier::None as u8;
const BASIC: u8 = Tier::Basic as u8;
const MODERATE: u8 = Tier::Moderate as u8;

/// Sets the tier to what `GRANULE_CHECK` says, and returns it.
pub(crate) fn settle_tier<V: Variables>() -> Tier {
    let tier = V::with(b"GRANULE_CHECK", |value| match value {
        Some(b"none") => Tier::None,
        Some(b"moderate") => Tier::Moderate,
        Some(b"full") => Tier::Full,
        _ => Tier::Basic,
    });
    let tier = tier.unwrap_or(Tier::Basic);
    TIER.store(tier as u8, Relaxed);
    tier
}

const UNKNOWN: u8 = 0;
const FRUGAL: u8 = 1;
const BALANCED: u8 = 2;
const THROUGHPUT: u8 = 3;
const PRESETS: u8 = 3;
/// The limits of presets.
static LIMITS: [Limits; 4] = {
    let mut limits = [Limits::BALANCED; 4];
    limits[FRUGAL as usize] = Limits::FRUGAL;
    limits[THROUGHPUT as usize] = Limits::THROUGHPUT;
    limits
};

/// Beside a preset: what is said of huge pages.
const HUGE: u8 = 4;
const NO_HUGE: u8 = 8;

static PRESET: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Bytes that have been set aside, and stay.
static RESERVE: AtomicUsize = AtomicUsize::new(0);

/// The limits that the environment says; balanced ones until it is known.
///
/// Inlined, so that who asks for one of them does not copy all.
#[inline(always)]
pub(crate) fn limits<V: Variables>() -> Limits {
    // Relaxed: all who look find the same.
    let number = match PRESET.load(Relaxed) {
        UNKNOWN => find_preset::<V>(),
        number => number,
    };
    limits_of(number, RESERVE.load(Relaxed))
}

#[inline(always)]
fn limits_of(number: u8, reserve: usize) -> Limits {
    let limits = &LIMITS[usize::from(number & PRESETS)];
    Limits {
        resident_min: limits.resident_min.max(reserve),
        huge_pages: match number & (HUGE | NO_HUGE) {
            HUGE => HugePages::Wanted,
            NO_HUGE => HugePages::Refused,
            _ => limits.huge_pages,
        },
        ..*limits
    }
}

/// The preset, and what is said of huge pages.
#[cold]
fn find_preset<V: Variables>() -> u8 {
    let preset = V::with(b"GRANULE_PRESET", |value| match value {
        Some(b"frugal") => FRUGAL,
        Some(b"throughput") => THROUGHPUT,
        _ => BALANCED,
    });
    let Ok(preset) = preset else { return BALANCED };
    let huge = V::with(b"GRANULE_HUGE", |value| match value {
        Some(b"1") => HUGE,
        Some(b"0") => NO_HUGE,
        _ => 0,
    });
    let number = preset | huge.unwrap_or(0);
    PRESET.store(number, Relaxed);
    number
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
    fn presets_are_apart() {
        let [frugal, balanced, throughput] =
            [FRUGAL, BALANCED, THROUGHPUT].map(|one| limits_of(one, 0));
        assert_eq!(balanced, Limits::BALANCED);
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
