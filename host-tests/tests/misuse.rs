//! Misuse in the default tier ends the process with a report.
//!
//! Each case of `misuse.c` prints the pointer it misuses; the report has to
//! be a line that starts with `granule: ` and names that pointer and the kind
//! of misuse, and the process has to die of `SIGABRT`.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Source};

/// Runs one case, preloaded and linked statically.
fn ends_with_report(case: &str, kinds: &[&str]) -> Result<()> {
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
    }
    Ok(())
}

macro_rules! misuse {
    ($($case:ident => $($kind:literal)|+;)+) => {
        $(
            #[test]
            fn $case() -> Result<()> {
                ends_with_report(stringify!($case), &[$($kind),+])
            }
        )+

        const CASES: &[&str] = &[$(stringify!($case)),+];
    };
}

misuse! {
    double_free_of_16 => "double free";
    double_free_of_100 => "double free";
    double_free_of_1024 => "double free";
    double_free_of_8192 => "double free";
    late_double_free => "double free";
    late_double_free_of_a_retired_slab => "double free" | "invalid pointer";
    interleaved_double_free => "double free";
    double_free_of_100_kib => "double free";
    double_free_of_1_mib => "double free";
    double_free_of_64_mib => "double free";
    free_of_a_stack_address => "invalid pointer";
    free_of_a_static_address => "invalid pointer";
    free_before_any_allocation => "invalid pointer";
    free_of_a_wild_address => "invalid pointer";
    realloc_of_a_static_address => "invalid pointer";
    free_of_a_misaligned_address => "invalid pointer";
    free_inside_a_small_block => "invalid pointer";
    free_inside_a_large_block => "invalid pointer";
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
