//! `cargo xtask soak`: mixed load for as long as is asked, with a shadow of
//! every block; see `host-tests/c/soak.c`. A bounded run is among the tests.

use crate::test::workspace_tests::{shown, stream};
use crate::test::{Stage, perform_all};
use crate::{Outcome, workspace};
use anyhow::{Context, Result};
use clap::Args;
use std::time::Duration;

/// Options of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes in all: a fourth for each front end, the tier `full`, and sampled guards
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Ways to run the load, one after the other.
const WAYS: u64 = 4;

/// Runs `cargo xtask soak`.
pub(crate) fn run(options: &Options) -> Outcome {
    Ok(perform_all(vec![stage(options.minutes)?], false))
}

/// The stage, so many minutes long.
pub(crate) fn stage(minutes: u64) -> Result<Stage> {
    let seconds = minutes.checked_mul(60 / WAYS).context("so many minutes")?;
    Ok(shown("soak: mixed load, with a shadow", move || {
        let job = workspace::cargo(["test", "--release", "--package", "granule-host-tests"])?;
        let job = job.args(["--test", "soak", "--", "--nocapture"]);
        let job = job.env("GRANULE_SOAK_SECONDS", seconds.to_string());
        let limit = Duration::from_secs(WAYS * (2 * seconds + 120));
        stream(job.timeout(limit + workspace::BUILD_TIMEOUT))
    }))
}
