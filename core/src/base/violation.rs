//! What a heap's walk found that must not be.

use core::fmt;

/// An invariant of `DESIGN.md` that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number: `R2`.
    pub invariant: &'static str,
    /// What was found, in a few words.
    pub found: &'static str,
    /// Where: the address of a page, a slab's first page or an object.
    pub address: usize,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at {:#x}", self.invariant, self.found, self.address)
    }
}

impl core::error::Error for Violation {}

impl Violation {
    /// Nothing when the invariant holds.
    pub(crate) fn unless(
        holds: bool,
        invariant: &'static str,
        found: &'static str,
        address: usize,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { invariant, found, address }) }
    }
}
