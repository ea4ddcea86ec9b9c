//! System calls that are refused: ENOMEM from each one that is made, and
//! filters that forbid what a front end or a shortcut needs.
//!
//! `refused.c` installs a filter (seccomp) for one call at a time, when it
//! starts and in the middle. `mprotect` refused alone is what a machine without
//! overcommit does when it is full; switching that off for a whole machine is
//! not for a test.
#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use granule_host_tests::suite::{run_cases, run_cases_with};
use granule_host_tests::{Exit, Linkage, Source};

#[test]
fn preloaded_with_either_front_end() -> Result<()> {
    run_cases(&Source::new("refused.c"), Linkage::Preload)
}

#[test]
fn linked_statically() -> Result<()> {
    run_cases(&Source::new("refused.c"), Linkage::Static)
}

/// In every tier: each has calls of its own.
#[test]
fn in_every_tier() -> Result<()> {
    for tier in ["moderate", "full"] {
        run_cases_with(&Source::new("refused.c"), Linkage::Preload, |run| {
            run.env("GRANULE_CHECK", tier)
        })?;
    }
    Ok(())
}

/// With every block in a hundred between guard pages.
#[test]
fn with_sampled_guards() -> Result<()> {
    run_cases_with(&Source::new("refused.c"), Linkage::Preload, |run| {
        run.env("GRANULE_SAMPLE", "100")
    })
}

/// Where glibc has no areas ours are refused, and threads have the caches.
#[test]
fn without_the_c_library_s_areas() -> Result<()> {
    run_cases_with(&Source::new("refused.c"), Linkage::Preload, |run| {
        run.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    })
}

/// An entry of the kernel's vector that is not there sets errno, as much as a call that
/// is refused: before `main`, too, where C wants it to be 0.
#[test]
fn without_entries_of_the_vector() -> Result<()> {
    for linkage in [Linkage::Preload, Linkage::Dynamic, Linkage::Static] {
        let program = Source::new("vector.c").program(linkage)?;
        for case in ["errno_is_zero_at_main", "errno_is_kept"] {
            let outcome = program.run()?.arg(case).outcome()?;
            ensure!(outcome.exit == Exit::Code(0), "{case} {linkage:?}: {}", outcome.describe());
        }
    }
    Ok(())
}
