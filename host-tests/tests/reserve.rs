//! `GRANULE_RESERVE`: memory that is there before it is asked for.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Run, Source, suite::FRONT_ENDS};

const LINKAGES: [Linkage; 3] = [Linkage::Preload, Linkage::Dynamic, Linkage::Static];

/// Runs `case` in every way of linking, and with either front end.
fn run(case: &str, configure: impl Fn(Run) -> Run) -> Result<()> {
    for linkage in LINKAGES {
        let program = Source::new("reserve.c").program(linkage)?;
        for front_end in FRONT_ENDS {
            let run = configure(program.run()?).env("GRANULE_FRONTEND", front_end).arg(case);
            let outcome = run.outcome()?;
            let told = || format!("{case} {linkage:?} {front_end}: {}", outcome.describe());
            ensure!(outcome.exit == Exit::Code(0), "{}", told());
        }
    }
    Ok(())
}

fn run_with(reserve: &str, case: &str) -> Result<()> {
    run(case, |run| run.env("GRANULE_RESERVE", reserve))
        .with_context(|| format!("with GRANULE_RESERVE={reserve:?}"))
}

#[test]
fn touched_memory_is_there_from_the_start() -> Result<()> {
    run_with("64M,touch", "touched_memory_is_there_from_the_start")
}

#[test]
fn touched_memory_is_used_without_a_fault_or_a_call() -> Result<()> {
    run_with("64M,touch", "touched_memory_is_used_without_a_fault_or_a_call")
}

#[test]
fn touched_memory_serves_the_first_use_with_few_faults() -> Result<()> {
    run_with("65536K,touch", "touched_memory_serves_the_first_use_with_few_faults")
}

#[test]
fn memory_is_committed_from_the_start() -> Result<()> {
    run_with("64M", "memory_is_committed_from_the_start")
}

#[test]
fn bad_values_are_as_none() -> Result<()> {
    for bad in ["", "64M,Touch", "64MB", "sixty", "-64M", "99999999999G,touch", ",touch"] {
        run_with(bad, "nothing_is_set_aside")?;
    }
    run("nothing_is_set_aside", |run| run)
}

#[test]
fn what_a_limit_forbids_is_not_set_aside() -> Result<()> {
    run("the_program_runs_all_the_same", |run| {
        run.env("GRANULE_RESERVE", "64M,touch").address_space(64 << 20)
    })
}

/// What was refused is not kept back either, of memory that the program uses later.
#[test]
fn what_is_refused_keeps_nothing_from_going_back() -> Result<()> {
    for huge in ["9999999G", "9999999G,touch"] {
        run_with(huge, "what_is_idle_goes_back")?;
    }
    run("what_is_idle_goes_back", |run| run.env("GRANULE_RESERVE", "1G").address_space(512 << 20))
}
