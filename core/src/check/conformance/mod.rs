//! One suite for every implementation of a trait of ours: whoever writes a
//! [`PageProvider`](crate::PageProvider) or a [`FrontEnd`](crate::FrontEnd)
//! runs it, on the host or in a kernel.
//!
//! Nothing here panics, allocates or prints: a suite returns a [`Report`] of
//! what it saw, or the first [`Failure`] with the duty that was not met.
//!
//! ```
//! use granule_core::check::conformance;
//! use granule_core::provider::NoPages;
//!
//! // A provider that has nothing does not conform, and the suite says why.
//! let failure = conformance::page_provider(&NoPages).unwrap_err();
//! assert_eq!(failure.duty(), "reserve hands out a page");
//! ```

mod front_end;
mod page_provider;

pub use front_end::{Bench, front_end};
pub use page_provider::page_provider;

use core::fmt;

/// A duty of the trait that an implementation does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    duty: &'static str,
}

impl Failure {
    /// What should have been so, in a few words.
    #[must_use]
    pub fn duty(&self) -> &'static str {
        self.duty
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "does not hold: {}", self.duty)
    }
}

impl core::error::Error for Failure {}

/// What a suite saw of an implementation that conforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Checks made. Optional abilities that are absent make it smaller.
    pub checks: u32,
    /// Optional calls that were refused: allowed, but worth a look.
    pub refusals: u32,
}

impl Report {
    /// Counts a check, or fails with the duty it is of.
    fn ensure(&mut self, holds: bool, duty: &'static str) -> Result<(), Failure> {
        self.checks += 1;
        if holds { Ok(()) } else { Err(Failure { duty }) }
    }
}
