//! The stage of macOS: its shim compiles. There is no such machine here, nor
//! an emulator of one, so nothing is run.

use super::workspace_tests::{shown, stream};
use super::{Skipped, Stage};
use crate::{setup, workspace};

const TRIPLE: &str = "aarch64-apple-darwin";

/// The stage.
pub(super) fn stage() -> Stage {
    shown("macos: the shim compiles", || {
        setup::have_target(TRIPLE).map_err(|why| Skipped(format!("{why:#}")))?;
        stream(workspace::cargo(["check", "--package", "granule", "--target", TRIPLE])?)
    })
}
