//! The stage of models: loom tries the protocols of the core, and of what is
//! plugged into it, in every order of steps; see `core/src/check/model.rs`.

use super::Stage;
use super::workspace_tests::{shown, stream};
use crate::process::Job;
use crate::workspace;
use anyhow::Result;

/// The stage.
pub(super) fn stage() -> Stage {
    shown("models of every protocol, and their mutants", || stream(job()?))
}

/// The models, compiled in a folder of their own: the switch is a flag of the
/// compiler's, and changes every crate.
pub(crate) fn job() -> Result<Job> {
    let cargo = workspace::cargo(["test", "--package", "granule-core", "--package", "granule"])?;
    let job = cargo.args(["--lib", "models"]).env("RUSTFLAGS", "--cfg loom");
    Ok(job.env("CARGO_TARGET_DIR", workspace::target().join("loom")))
}
