//! Programs at the edge: small stacks, threads that end in the middle, no
//! standard error, a malloc of their own.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::run::shell;
use granule_host_tests::suite::{FRONT_ENDS, run_cases, run_cases_with};
use granule_host_tests::{Exit, Linkage, Program, Run, Source, library};

granule_host_tests::suites! {
    /// Stacks of 16 KiB, cancelled threads.
    edges => "edges.c";
}

/// The largest tiers need most of a stack.
#[test]
fn in_checked_tiers() -> Result<()> {
    for (tier, front_end) in [("moderate", "rseq"), ("full", "rseq"), ("full", "thread")] {
        run_cases_with(&Source::new("edges.c"), Linkage::Preload, |run| {
            run.env("GRANULE_CHECK", tier).env("GRANULE_FRONTEND", front_end)
        })?;
    }
    Ok(())
}

/// Preloaded, and linked with the library: a weak name alone would not be.
fn preloaded_and_linked(file: &'static str) -> Result<()> {
    run_cases(&Source::new(file), Linkage::Preload)?;
    run_cases(&Source::new(file).flag("-DLINKED"), Linkage::Dynamic)
}

#[test]
fn a_program_with_a_malloc_of_its_own() -> Result<()> {
    preloaded_and_linked("interpose.c")
}

#[test]
fn a_program_that_wraps_malloc() -> Result<()> {
    preloaded_and_linked("wrap.c")
}

/// Without a standard error the report goes nowhere, and the program ends all
/// the same; statistics go nowhere, and it goes on.
#[test]
fn a_closed_standard_error() -> Result<()> {
    let program = Source::new("misuse.c").program(Linkage::Preload)?;
    let told = Source::new("front_end.c").program(Linkage::Preload)?;
    for front_end in FRONT_ENDS {
        let closed = |program: &Program, case| -> Result<_> {
            // The shell is there for `2>&-`, and does without granule.
            let run = Run::new(shell())
                .arg("-c")
                .arg("LD_PRELOAD=$1 GRANULE_FRONTEND=$2 exec \"$3\" \"$4\" 2>&-")
                .arg("sh")
                .arg(library::shared()?)
                .arg(front_end)
                .arg(&program.path)
                .arg(case);
            run.outcome()
        };
        for case in ["double_free_of_1_mib", "free_of_a_stack_address", "late_double_free"] {
            let outcome = closed(&program, case)?;
            ensure!(outcome.exit == Exit::Signal(libc::SIGABRT), "{case}: {}", outcome.describe());
            ensure!(outcome.stderr.is_empty(), "{case}: {}", outcome.describe());
            outcome.stdout.lines().next().context("the case began")?;
        }
        let outcome = closed(&told, "chosen")?;
        ensure!(outcome.exit == Exit::Code(0), "{}", outcome.describe());
    }
    Ok(())
}
