//! The stage of another processor: the tests of the Linux shim, built for
//! 64-bit ARM and run by an emulator of its user mode.
//!
//! The emulator has no restartable sequences, so threads have the caches; the
//! assembly of the sequences runs all the same, on areas of ours.

use super::workspace_tests::{shown, stream};
use super::{Skipped, Stage};
use crate::setup::{self, Need};
use crate::{tools, workspace};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

const TRIPLE: &str = "aarch64-unknown-linux-gnu";
/// The linker, and with it the C library to run with.
const LINKER: Need =
    Need::program("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]);
const EMULATOR: Need = Need::program("qemu-aarch64", &["qemu-user"]);
/// Where Debian's cross compilers have their C library.
const SYSROOT: &str = "/usr/aarch64-linux-gnu";

/// How long build and run may take, without downloads. They take one and a
/// half minutes, and longer on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// The stage.
pub(super) fn stage() -> Stage {
    shown("the Linux shim on emulated aarch64", || {
        let (linker, emulator) = tools().map_err(|error| Skipped(format!("{error:#}")))?;
        let cargo =
            workspace::cargo(["test", "--package", "granule", "--lib", "--target", TRIPLE])?;
        let runner = format!("{} -L {SYSROOT}", emulator.display());
        let job = cargo
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", &runner)
            // For the children of tests.
            .env("GRANULE_TEST_RUNNER", runner)
            // One after the other: a test's child hung once in some two hundred runs,
            // presumably in a lock of the emulator's that another test's thread had when
            // it was forked. It did not in 175 more.
            .args(["linux", "--", "--test-threads=1"])
            .timeout(LIMIT);
        stream(job)
    })
}

/// Linker and emulator, installed when missing, as Rust's library is.
fn tools() -> Result<(PathBuf, PathBuf)> {
    setup::ensure(&[&LINKER, &EMULATOR])?;
    setup::have_target(TRIPLE)?;
    Ok((tools::require("aarch64-linux-gnu-gcc")?, tools::require("qemu-aarch64")?))
}
