//! Tiers of checking: how much is spent on finding a program's mistakes.
//!
//! After the levels of Zephyr's heap hardening. What each tier catches is a
//! table in the README, every cell of which is a test.

/// How much a heap checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// What costs nothing, on slow paths.
    None,
    /// Slow paths check what they are given: a double free when the object is
    /// flushed to its slab, foreign and misaligned pointers at once. Hits check
    /// nothing.
    #[default]
    Basic,
    /// Every block has a header, sealed with a key of the process, that tells
    /// whether it is live, how large it is and where it begins: every free and
    /// every `realloc` is checked at once. Objects are handed out in random
    /// order. Costs 16 bytes a block and all hits.
    Moderate,
    /// As [`Moderate`](Self::Moderate), and what is written past the end of a
    /// block, or into one that is free, is found: canaries, poison, and a
    /// quarantine in which freed blocks wait before they are used again.
    Full,
}

impl Tier {
    /// Whether every call is checked.
    #[inline(always)]
    #[must_use]
    pub const fn checks_calls(self) -> bool {
        matches!(self, Self::Moderate | Self::Full)
    }
}
