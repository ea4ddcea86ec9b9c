//! Misuse in the default tier ends the process with a report.
//!
//! Each case of `misuse.c` prints the pointer it misuses; the report has to
//! be a line that starts with `granule: ` and names that pointer, the kind of misuse
//! and the size class or run that the pointer is in, if it is in any; a second line
//! says what to do next, and the process has to die of `SIGABRT`.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Source};

/// What to do next, of a double free and of a pointer that is no block's.
const ADVICE: [&str; 2] = [
    "granule: look for a second owner of the block",
    "granule: free what was allocated, by its first byte, through the same allocator",
];

/// In no memory of the heap's.
const NOWHERE: &str = "";

/// Runs one case, preloaded and linked statically.
fn ends_with_report(case: &str, kinds: &[&str], places: &[&str]) -> Result<()> {
    for linkage in [Linkage::Preload, Linkage::Static] {
        let program = Source::new("misuse.c").program(linkage)?;
        let outcome = program.run()?.arg(case).outcome()?;
        let pointer = outcome.stdout.lines().next().context(outcome.describe())?;
        ensure!(
            outcome.exit == Exit::Signal(libc::SIGABRT),
            "{case}, {linkage:?}: {}",
            outcome.describe()
        );
        let report = outcome.stderr.lines().find(|line| line.starts_with("granule: "));
        let report = report.with_context(|| format!("no report: {}", outcome.describe()))?;
        ensure!(
            kinds.iter().any(|kind| report.contains(kind)) && report.contains(pointer),
            "{case}, {linkage:?}: {report:?} does not name {kinds:?} and {pointer}"
        );
        let nowhere = !report.contains("(in ");
        let is_at = |place: &&str| if *place == NOWHERE { nowhere } else { report.contains(place) };
        ensure!(
            places.iter().any(is_at),
            "{case}, {linkage:?}: {report:?} does not say {places:?}"
        );
        let advice = outcome.stderr.lines().filter(|line| ADVICE.contains(line));
        ensure!(advice.count() == 1, "what to do next is missing: {}", outcome.describe());
    }
    Ok(())
}

macro_rules! misuse {
    ($($case:ident => $($kind:literal)|+, $($place:tt)|+;)+) => {
        $(
            #[test]
            fn $case() -> Result<()> {
                ends_with_report(stringify!($case), &[$($kind),+], &[$($place),+])
            }
        )+

        const CASES: &[&str] = &[$(stringify!($case)),+];
    };
}

misuse! {
    double_free_of_16 => "double free", "(in a slab of blocks of 16 bytes)";
    double_free_of_100 => "double free", "(in a slab of blocks of 112 bytes)";
    // Its slab may have gone back between the second free and the third.
    double_free_of_1024 => "double free", "(in a slab of blocks of 1024 bytes)" | "(in free memory)";
    double_free_of_8192 => "double free", "(in a slab of blocks of 8192 bytes)";
    late_double_free => "double free", "(in a slab of blocks of 64 bytes)";
    // Its pages may be free by then, or another's.
    late_double_free_of_a_retired_slab => "double free" | "invalid pointer", "(in ";
    interleaved_double_free => "double free", "(in a slab of blocks of ";
    double_free_of_100_kib => "double free", "(in ";
    double_free_of_1_mib => "double free", "(in ";
    double_free_of_64_mib => "double free", "(in free memory)";
    free_of_a_stack_address => "invalid pointer", NOWHERE;
    free_of_a_static_address => "invalid pointer", NOWHERE;
    free_before_any_allocation => "invalid pointer", NOWHERE;
    free_of_a_wild_address => "invalid pointer", NOWHERE;
    realloc_of_a_static_address => "invalid pointer", NOWHERE;
    free_of_a_misaligned_address => "invalid pointer", "(in a slab of blocks of ";
    free_inside_a_small_block => "invalid pointer", "(in a slab of blocks of ";
    free_inside_a_large_block => "invalid pointer", "(in a run of ";
}

#[test]
fn every_case_has_a_test() -> Result<()> {
    let program = Source::new("misuse.c").program(Linkage::Plain)?;
    let list = program.run()?.arg("--list").success()?;
    let mut listed: Vec<_> = list.lines().collect();
    let mut tested = CASES.to_vec();
    listed.sort_unstable();
    tested.sort_unstable();
    ensure!(listed == tested, "misuse.c has {listed:?}, this file tests {tested:?}");
    Ok(())
}
