//! Which front end a process gets, and what caches of CPUs are put through.
//!
//! `front_end.c` finds out itself whether the kernel has what they need, so
//! that nothing here passes because it did not run.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Linkage, Run, Source, library, suite};

const LINKAGES: [Linkage; 3] = [Linkage::Preload, Linkage::Dynamic, Linkage::Static];

/// Told to glibc, it registers no areas.
const NO_AREAS: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");

/// Told to the program, it registers an area before anybody else.
const FOREIGN: (&str, &str) = ("GRANULE_TEST_FOREIGN", "1");

const CPUS: &str = "caches of CPUs";
const THREADS: &str = "caches of threads";

fn program() -> Source {
    Source::new("front_end.c")
}

fn possible() -> Result<bool> {
    let output = program().program(Linkage::Plain)?.run()?.arg("possible").success()?;
    Ok(output.trim() == "possible")
}

/// Who has the caches of a process with these variables, in each linkage.
fn chooses(variables: &[(&str, &str)], expected: &str) -> Result<()> {
    LINKAGES.iter().try_for_each(|linkage| chooses_in(*linkage, variables, expected))
}

fn chooses_in(linkage: Linkage, variables: &[(&str, &str)], expected: &str) -> Result<()> {
    let expected = if possible()? { expected } else { THREADS };
    let mut run = program().program(linkage)?.run()?;
    for (name, value) in variables {
        run = run.env(name, value);
    }
    let outcome = run.arg("chosen").outcome()?;
    let line = outcome.stderr.lines().next().with_context(|| outcome.describe())?;
    let said = line.strip_prefix("granule, ").with_context(|| outcome.describe())?;
    ensure!(said == expected, "{linkage:?}, {variables:?}: {said}, not {expected}");
    Ok(())
}

#[test]
fn caches_of_cpus_are_chosen_where_they_can_be_had() -> Result<()> {
    chooses(&[], CPUS)?;
    chooses(&[("GRANULE_FRONTEND", "nonsense")], CPUS)?;
    chooses(&[("GRANULE_FRONTEND", "rseq")], CPUS)
}

#[test]
fn the_environment_can_ask_for_caches_of_threads() -> Result<()> {
    chooses(&[("GRANULE_FRONTEND", "thread")], THREADS)?;
    chooses(&[("GRANULE_FRONTEND", "thread"), NO_AREAS], THREADS)
}

#[test]
fn without_the_c_library_s_areas_there_are_ours() -> Result<()> {
    chooses(&[NO_AREAS], CPUS)?;
    chooses(&[NO_AREAS, ("GRANULE_FRONTEND", "rseq")], CPUS)
}

#[test]
fn where_somebody_else_has_the_area_threads_have_the_caches() -> Result<()> {
    // A static program's C library allocates, hence chooses, before any of the
    // program's own code runs.
    for linkage in [Linkage::Preload, Linkage::Dynamic] {
        chooses_in(linkage, &[NO_AREAS, FOREIGN], THREADS)?;
        let insisting = [NO_AREAS, FOREIGN, ("GRANULE_FRONTEND", "rseq")];
        chooses_in(linkage, &insisting, THREADS)?;
    }
    Ok(())
}

/// Runs a case in every linkage and with either owner of the areas; and with
/// caches of threads, where the case makes sense there.
fn passes(case: &str, with_threads: bool) -> Result<()> {
    for linkage in LINKAGES {
        let program = program().program(linkage)?;
        let plain = program.run()?.arg(case);
        let mut runs = vec![];
        if possible()? {
            runs.push(plain.clone());
            runs.push(plain.clone().env(NO_AREAS.0, NO_AREAS.1));
        }
        if with_threads {
            runs.push(plain.env("GRANULE_FRONTEND", "thread"));
        }
        for run in runs {
            run.success().with_context(|| format!("{linkage:?}: {run:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_foreign_area_in_some_threads() -> Result<()> {
    passes("a_foreign_area_in_some_threads", false)
}

#[test]
fn threads_hop_under_signals_and_drains() -> Result<()> {
    passes("threads_hop_under_signals_and_drains", true)
}

#[test]
fn forks_under_load_and_signals() -> Result<()> {
    passes("forks_under_load_and_signals", true)
}

#[test]
fn a_thousand_idle_threads_cache_no_more_than_the_cpus() -> Result<()> {
    passes("a_thousand_idle_threads_cache_no_more_than_the_cpus", false)
}

/// Both front ends, loaded and closed by a program with another allocator.
#[test]
fn a_library_that_is_closed_stays() -> Result<()> {
    let source = Source::new("closed.c");
    for front_end in suite::FRONT_ENDS {
        suite::run_cases_with(&source, Linkage::Plain, |run: Run| {
            let run = run.env("GRANULE_FRONTEND", front_end);
            match library::shared() {
                Ok(path) => run.env("GRANULE_TEST_LIBRARY", path),
                Err(_) => run,
            }
        })?;
    }
    Ok(())
}
