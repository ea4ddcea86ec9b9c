//! Heaps and pools of the C interface, from C; and their misuse, reported.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Source};

granule_host_tests::suites! {
    /// granule_heap_*, granule_pool_*.
    heaps => "heaps.c";
    /// Pools on memory of other heaps, and on memory that stays.
    pools => "pools.c";
}

/// A handle that is used after its heap has ended.
#[test]
fn a_heap_used_after_its_end_is_reported() -> Result<()> {
    for case in ["use_malloc", "use_free", "use_destroy", "use_stats", "use_later"] {
        for linkage in [Linkage::Dynamic, Linkage::Static] {
            let program = Source::new("heap_misuse.c").program(linkage)?;
            let outcome = program.run()?.arg(case).outcome()?;
            let handle = outcome.stdout.lines().next().context(outcome.describe())?;
            ensure!(outcome.exit == Exit::Signal(libc::SIGABRT), "{case}: {}", outcome.describe());
            let report = outcome.stderr.lines().find(|line| line.starts_with("granule: "));
            let report = report.with_context(|| format!("no report: {}", outcome.describe()))?;
            ensure!(report.contains("heap used after it has ended"), "{case}: {report:?}");
            ensure!(report.contains(handle), "{case}: {report:?} does not name {handle}");
        }
    }
    Ok(())
}
