//! The machine's clock in usual units.

/// Microseconds since the machine started.
pub(crate) fn micros() -> u64 {
    let ticks = u128::from(machine::cpu::ticks());
    (ticks * 1_000_000 / u128::from(machine::cpu::tick_hz())) as u64
}

/// Milliseconds since the machine started.
pub(crate) fn millis() -> u64 {
    micros() / 1000
}

/// A moment to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// The moment `ms` milliseconds from now.
    pub(crate) fn after_ms(ms: u64) -> Self {
        Self(micros() + ms * 1000)
    }

    /// Whether it is past.
    pub(crate) fn is_past(self) -> bool {
        micros() >= self.0
    }
}
