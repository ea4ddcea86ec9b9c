//! `cargo xtask verify`: the checks that take hours. `cargo xtask test` does
//! the same in minutes, less far.

mod sanitizers;

use crate::test::workspace_tests::{shown, stream};
use crate::test::{fuzz, miri, models, perform_all, retain};
use crate::{Outcome, workspace};
use anyhow::Result;
use clap::Args;
use std::time::Duration;

/// Options of `cargo xtask verify`.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes for each target of the fuzzer
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Stop at the first stage that fails
    #[arg(long)]
    fail_fast: bool,
    /// Only stages whose name contains one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// How often a thread of a model is preempted: once more than usual.
const PREEMPTIONS: &str = "4";

/// Runs `cargo xtask verify`.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut stages = vec![shown("models, with more preemptions", || stream(more_models()?))];
    stages.push(shown("locks, a fault at each", || stream(every_lock()?)));
    stages.extend(fuzz::stages(Duration::from_secs(60 * options.minutes)));
    stages.extend(sanitizers::stages());
    stages.extend(miri::stages());
    retain(&mut stages, &options.names)?;
    Ok(perform_all(stages, options.fail_fast))
}

/// Where `cargo xtask test` takes one lock in some dozens.
fn every_lock() -> Result<crate::process::Job> {
    let job = workspace::cargo(["test", "--package", "granule-core", "--lib", "lock_faults"])?;
    Ok(job.env("GRANULE_LOCK_STEP", "1").timeout(Duration::from_secs(3600)))
}

/// The models, optimised, for there are a hundred times as many executions.
fn more_models() -> Result<crate::process::Job> {
    let job = models::job()?.env("GRANULE_PREEMPTIONS", PREEMPTIONS);
    let job = job.env("CARGO_PROFILE_TEST_OPT_LEVEL", "2");
    Ok(job.timeout(Duration::from_secs(4 * 3600)))
}
