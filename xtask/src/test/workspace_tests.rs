//! The stages that test this workspace: with cargo, in debug and in release,
//! and with the oldest compiler we promise.

use super::{Output, Skipped, Stage};
use crate::bench::{self, instructions};
use crate::process::Job;
use crate::{setup, workspace};
use anyhow::{Result, bail};

/// All of them.
pub(super) fn stages() -> Vec<Stage> {
    let oldest = workspace::oldest_rust();
    vec![
        shown("unit, property and integration tests", || stream(workspace::cargo(["test"])?)),
        shown("host tests, optimised", || {
            stream(workspace::cargo(["test", "--release", "--package", "granule-host-tests"])?)
        }),
        quiet("examples", examples),
        quiet("instructions of hits, none more than before", || match instructions::check()? {
            Some(other) => Err(Skipped(other.0).into()),
            None => Ok(()),
        }),
        // As many as a machine of few CPUs has patience for.
        quiet("locks and caches of 1 to 16 CPUs", || {
            bench::scaling_job()?.arg("16").run_ok().map(drop)
        }),
        shown("machines without compare-and-swap: it compiles", small_machines),
        shown(&format!("the oldest compiler, Rust {oldest}"), oldest_compiler),
    ]
}

/// The programs of `platform/examples` run, and find what they say.
fn examples() -> Result<()> {
    for example in ["collections", "requests"] {
        let named = ["run", "-q", "-p", "granule", "--example", example];
        workspace::cargo(named)?.run_ok()?;
    }
    Ok(())
}

/// What kernels and firmware link compiles for machines of 32 bits that have loads
/// and stores alone, ARMv6-M and RISC-V without `A`. None of them is run.
fn small_machines() -> Result<()> {
    for triple in ["thumbv6m-none-eabi", "riscv32imc-unknown-none-elf"] {
        setup::have_target(triple).map_err(|why| Skipped(format!("{why:#}")))?;
        let clippy = ["clippy", "--package", "granule", "--target", triple];
        stream(workspace::cargo(clippy)?.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Everything compiles with the version that the manifest states.
fn oldest_compiler() -> Result<()> {
    // A machine that cannot have it says nothing about the code; clippy's
    // check of versions still does.
    let cargo = setup::have_oldest_rust().map_err(|error| Skipped(format!("{error:#}")))?;
    let target = workspace::target().join("oldest");
    let check = |args: &[&str]| {
        let job = cargo.clone().arg("check").args(args).cwd(workspace::root());
        // A folder of its own, or each compiler would undo the other's work.
        // And its own name: cargo hands down the toolchain that runs us.
        let job = job.env("CARGO_TARGET_DIR", &target).env_remove("RUSTUP_TOOLCHAIN");
        stream(job.timeout(workspace::BUILD_TIMEOUT))
    };
    check(&["--workspace", "--exclude", "granule-malloc", "--all-targets"])?;
    // Only as it is built for use: it has no tests, and panics by aborting.
    check(&["--release", "--package", "granule-malloc"])
}

pub(crate) fn shown(name: &str, work: impl FnOnce() -> Result<()> + 'static) -> Stage {
    Stage { name: name.to_owned(), output: Output::Shown, work: Box::new(work) }
}

fn quiet(name: &str, work: impl FnOnce() -> Result<()> + 'static) -> Stage {
    Stage { name: name.to_owned(), output: Output::Quiet, work: Box::new(work) }
}

pub(crate) fn stream(job: Job) -> Result<()> {
    let status = job.stream()?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    Ok(())
}
