//! `cargo xtask soak`: mixed load for as long as is asked, with a shadow of
//! every block; see `host-tests/c/soak.c`. A bounded run is among the tests.

use crate::test::workspace_tests::{shown, stream};
use crate::test::{Stage, perform_all};
use crate::{Outcome, workspace};
use anyhow::Result;
use clap::Args;
use std::time::Duration;

/// Options of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes in all: a fourth for each front end, the tier `full`, and sampled guards
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    minutes: u64,
}

/// A year.
const MOST: u64 = 366 * 24 * 60;

/// Ways to run the load, one after the other.
const WAYS: u64 = 4;

/// Runs `cargo xtask soak`.
pub(crate) fn run(options: &Options) -> Outcome {
    Ok(perform_all(vec![stage(options.minutes)?], false))
}

/// The stage, so many minutes long.
pub(crate) fn stage(minutes: u64) -> Result<Stage> {
    let seconds = minutes * (60 / WAYS);
    Ok(shown("soak: mixed load, with a shadow", move || {
        let job = workspace::cargo(["test", "--release", "--package", "granule-host-tests"])?;
        let job = job.args(["--test", "soak", "--", "--nocapture"]);
        let job = job.env("GRANULE_SOAK_SECONDS", seconds.to_string());
        let limit = Duration::from_secs(WAYS * (2 * seconds + 120));
        stream(job.timeout(limit + workspace::BUILD_TIMEOUT))
    }))
}

#[cfg(test)]
mod tests {
    use crate::Cli;
    use clap::Parser;

    #[test]
    fn a_soak_takes_a_minute_to_a_year() {
        let accepted =
            |minutes| Cli::try_parse_from(["xtask", "soak", "--minutes", minutes]).is_ok();
        assert!(accepted("1") && accepted("600"));
        assert!(!accepted("0") && !accepted("18446744073709551615"));
    }
}
