//! System calls that are refused: ENOMEM from each one that is made, and
//! filters that forbid what a front end or a shortcut needs.
//!
//! `refused.c` installs a filter (seccomp) for one call at a time, when it
//! starts and in the middle. `mprotect` refused alone is what a machine without
//! overcommit does when it is full; switching that off for a whole machine is
//! not for a test.
#![cfg(target_os = "linux")]

use anyhow::Result;
use granule_host_tests::suite::{run_cases, run_cases_with};
use granule_host_tests::{Linkage, Source};

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
