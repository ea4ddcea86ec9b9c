//! The stage of macOS: its shim compiles. There is no such machine here, nor
//! an emulator of one, so nothing is run.

use super::workspace_tests::{shown, stream};
use super::{Skipped, Stage};
use crate::{setup, workspace};

const TRIPLE: &str = "aarch64-apple-darwin";

/// The stage.
pub(super) fn stage() -> Stage {
    shown("macos: the shim compiles without a warning", || {
        setup::have_target(TRIPLE).map_err(|why| Skipped(format!("{why:#}")))?;
        let clippy = ["clippy", "--package", "granule", "--target", TRIPLE];
        stream(workspace::cargo(clippy)?.args(["--", "-D", "warnings"]))
    })
}
