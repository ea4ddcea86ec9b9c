//! Mixed load for a while: `GRANULE_SOAK_SECONDS` for each front end and for
//! the tier `full`, three by default; `cargo xtask soak` says how long.
#![cfg(target_os = "linux")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Linkage, Source};

const SECONDS: &str = "GRANULE_SOAK_SECONDS";

fn seconds() -> Result<u64> {
    std::env::var(SECONDS).map_or(Ok(3), |text| text.parse().context(SECONDS))
}

/// Soaks, and prints what the program did.
fn soak(what: &str, variables: &[(&str, &str)]) -> Result<()> {
    let seconds = seconds()?;
    let mut run = Source::new("soak.c").program(Linkage::Preload)?.run()?;
    for (name, value) in variables {
        run = run.env(name, *value);
    }
    let run = run.env(SECONDS, seconds.to_string());
    let said = run.timeout(Duration::from_secs(2 * seconds + 120)).arg("soak").success()?;
    print!("{what}: {said}");
    ensure!(said.trim_end().ends_with("; 0 bytes lost"), "{said}");
    Ok(())
}

/// One after the other: each is to have the machine for itself.
#[test]
fn with_either_front_end_and_checked() -> Result<()> {
    soak("caches of CPUs", &[("GRANULE_FRONTEND", "rseq")])?;
    soak("caches of threads", &[("GRANULE_FRONTEND", "thread")])?;
    soak("full", &[("GRANULE_CHECK", "full")])?;
    soak("sampled", &[("GRANULE_SAMPLE", "100")])
}
