//! `GRANULE_SAMPLE`: how often a block is put between guard pages; `on`, `RATE`
//! or `RATE,SLOTS`. Other values are as none.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use granule_core::base::sampling::Sampling;

use super::settings::Variables;

/// What is sampled: nothing before the environment is known.
static RATE: AtomicU32 = AtomicU32::new(0);
static SLOTS: AtomicU32 = AtomicU32::new(0);

/// How often blocks are put between guard pages.
pub(crate) fn sampling() -> Sampling {
    // Relaxed: who sees one and not yet the other samples nothing.
    Sampling { rate: RATE.load(Relaxed), slots: SLOTS.load(Relaxed) }
}

/// Looks at the environment, once; whether anything is to be sampled.
pub(crate) fn settle<V: Variables>() -> bool {
    let asked = V::with(b"GRANULE_SAMPLE", |value| value.and_then(sampling_of));
    let Sampling { rate, slots } = asked.ok().flatten().unwrap_or(Sampling::OFF);
    SLOTS.store(slots, Relaxed);
    RATE.store(rate, Relaxed);
    rate != 0
}

/// What a value means; `None` where it means nothing.
fn sampling_of(value: &[u8]) -> Option<Sampling> {
    let number = |text: &[u8]| {
        // `parse` would allow a sign.
        let all_digits = text.iter().all(u8::is_ascii_digit);
        core::str::from_utf8(text).ok().filter(|_| all_digits)?.parse().ok()
    };
    if value == b"on" {
        return Some(Sampling::DEFAULT);
    }
    let comma = value.iter().position(|&byte| byte == b',');
    let (rate, slots) = value.split_at(comma.unwrap_or(value.len()));
    let slots = match slots.split_first() {
        Some((_, slots)) => number(slots)?,
        None => Sampling::DEFAULT.slots,
    };
    let most = 1..=Sampling::MOST_SLOTS;
    Some(Sampling { rate: number(rate)?, slots }).filter(|one| most.contains(&one.slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_a_rate_and_slots_or_none() {
        let sampling = |text: &str| sampling_of(text.as_bytes());
        assert_eq!(sampling("on"), Some(Sampling::DEFAULT));
        assert_eq!(sampling("0").map(|one| one.rate), Some(0));
        assert_eq!(sampling("5000"), Some(Sampling { rate: 5000, ..Sampling::DEFAULT }));
        assert_eq!(sampling("1,4096"), Some(Sampling { rate: 1, slots: 4096 }));
        for bad in ["", "On", ",", "1,", ",1", "1,0", "1,4097", "-1", "+1", "1,2,3", "99999999999"]
        {
            assert_eq!(sampling(bad), None, "{bad:?}");
        }
    }
}
