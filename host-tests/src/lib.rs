//! Support for the host tests: a shadow [`model`] of heaps; and to find the library under test, compile C and C++
//! programs against it, run them with a deadline, and read what became of them.
//!
//! ```text
//! tests/*.rs ─ suite ─ compile ─ cc, c++   (three linkages, cached by content)
//!                   └─ run ───── the program in its own process group
//!                        └────── library: libgranule.so and libgranule.a
//! ```
//!
//! A program under `c/` is a list of cases (`CASE(name)` in `check.h`); each
//! case runs in a process of its own, so a crash in one hides no other.

#[cfg(target_os = "linux")]
pub mod compile;
#[cfg(target_os = "linux")]
pub mod library;
pub mod model;
#[cfg(target_os = "linux")]
pub mod run;
#[cfg(target_os = "linux")]
pub mod suite;

#[cfg(target_os = "linux")]
pub use compile::{Linkage, Program, Source};
#[cfg(target_os = "linux")]
pub use run::{Exit, Outcome, Run};

/// Multiplier for the loads of the heavier tests: `GRANULE_TEST_SCALE`, 1 if unset.
///
/// The C programs read the same variable.
pub fn scale() -> u32 {
    std::env::var("GRANULE_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}
