//! Builds the kernel under test.

use super::machine::Machine;
use crate::setup::{self, BareCargo};
use crate::tools;
use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;

/// The package of the kernel, and the name of its program.
const KERNEL: &str = "granule-qemu-tests";

/// Boots this ELF file instead, to try an older kernel or another one.
const KERNEL_VARIABLE: &str = "GRANULE_KERNEL";

/// Which levels of the log are compiled in; without it errors only.
const LEVEL_VARIABLE: &str = "DEFMT_LOG";

/// How the kernel is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Profile {
    /// For speed, as it is meant to run.
    #[default]
    Release,
    /// With all checks of the compiler.
    Debug,
}

/// A machine without a Rust to build its kernel: told apart from a kernel that
/// does not compile, for it says nothing about the code.
#[derive(Debug)]
pub(crate) struct NoRust(String);

impl std::fmt::Display for NoRust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRust {}

/// The kernel's ELF file, built first. The compiler has the terminal, and is
/// silent when there is nothing to do.
pub(crate) fn kernel(machine: Machine, profile: Profile) -> Result<PathBuf> {
    if let Some(kernel) = env::var_os(KERNEL_VARIABLE) {
        let kernel = PathBuf::from(kernel);
        tools::require_file(&kernel, KERNEL_VARIABLE)?;
        eprintln!("note: {KERNEL_VARIABLE} is set, the kernel is {}", kernel.display());
        return Ok(kernel);
    }
    let cargo = setup::bare_cargo(machine.triple()).map_err(|why| NoRust(format!("{why:#}")))?;
    let mut args = vec!["--quiet", "--package", KERNEL];
    if profile == Profile::Release {
        args.push("--release");
    }
    let mut job = cargo.job("build", &args);
    if env::var_os(LEVEL_VARIABLE).is_none() {
        job = job.env(LEVEL_VARIABLE, "info");
    }
    let status = job.stream()?;
    if !status.success() {
        bail!("the kernel for {} does not build ({status})", machine.name());
    }
    elf(&cargo, profile).with_context(|| format!("the build for {}", machine.name()))
}

fn elf(cargo: &BareCargo, profile: Profile) -> Result<PathBuf> {
    let folder = match profile {
        Profile::Release => "release",
        Profile::Debug => "debug",
    };
    let file = cargo.output(folder).join(KERNEL);
    tools::require_file(&file, "it made no kernel")?;
    Ok(file)
}
