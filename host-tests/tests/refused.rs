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

/// Filters that end programs have to allow what README names, and nothing else of ours.
#[test]
fn what_readme_names_is_enough_for_a_sandbox() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    let source = std::fs::read_to_string(root.join("host-tests/c/sandbox.c"))?;
    let list = source.split_once("granules[] = {").and_then(|(_, rest)| rest.split_once('}'));
    let names: Vec<_> = list.map_or("", |(list, _)| list).split("SYS_").skip(1).collect();
    for name in &names {
        let name = name.trim_end_matches([',', ' ', '\n']);
        ensure!(readme.contains(&format!("`{name}`")), "README does not name {name}");
    }
    ensure!(names.len() >= 10, "{names:?}");
    for linkage in [Linkage::Preload, Linkage::Dynamic, Linkage::Static] {
        for front_end in ["rseq", "thread"] {
            let program = Source::new("sandbox.c").program(linkage)?;
            let run = |case| -> Result<_> {
                program.run()?.arg(case).env("GRANULE_FRONTEND", front_end).outcome()
            };
            let outcome = run("what_readme_names_is_enough")?;
            let told = || format!("{front_end} {linkage:?}: {}", outcome.describe());
            ensure!(outcome.exit == Exit::Code(0), "{}", told());
            let outcome = run("anything_else_ends_the_program")?;
            ensure!(outcome.exit == Exit::Signal(libc::SIGSYS), "{}", outcome.describe());
        }
    }
    Ok(())
}
