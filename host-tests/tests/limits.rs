//! Memory that runs out, memory that must not grow, and what a process costs.
#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use granule_host_tests::suite::{run_cases, run_cases_with};
use granule_host_tests::{Linkage, Run, Source, library};

granule_host_tests::suites! {
    /// `RLIMIT_AS` set by the running program.
    limit => "limit.c";
    /// A million iterations of a steady load.
    steady => "steady.c";
}

const LINKAGES: [Linkage; 3] = [Linkage::Preload, Linkage::Dynamic, Linkage::Static];

fn limited_from_the_start(mib: u64) -> Result<()> {
    for linkage in LINKAGES {
        run_cases_with(&Source::new("limit_start.c"), linkage, |run| run.address_space(mib << 20))?;
    }
    Ok(())
}

#[test]
fn a_small_limit_from_the_start() -> Result<()> {
    limited_from_the_start(64)
}

#[test]
fn a_larger_limit_from_the_start() -> Result<()> {
    limited_from_the_start(192)
}

/// Where every page of the library is a page of each process.
fn small_program(linkage: Linkage) -> Result<()> {
    run_cases(&Source::new("footprint.c"), linkage)
}

#[test]
fn a_small_program_preloaded() -> Result<()> {
    small_program(Linkage::Preload)
}

#[test]
fn a_small_program_linked() -> Result<()> {
    small_program(Linkage::Dynamic)
}

/// The least peak of several runs: what else the machine does only adds.
fn least_peak_kib(run: &Run) -> Result<u64> {
    (0..9).try_fold(u64::MAX, |least, _| Ok(least.min(run.peak_rss_kib()?)))
}

#[test]
fn a_process_that_does_nothing_costs_little() -> Result<()> {
    let plain = least_peak_kib(&Run::new("/bin/true"))?;
    let preloaded = least_peak_kib(&Run::new("/bin/true").preload(library::shared()?))?;
    println!("/bin/true: {plain} KiB, preloaded {preloaded} KiB");
    ensure!(preloaded <= plain + 400, "{plain} KiB plain, {preloaded} KiB preloaded");
    Ok(())
}
