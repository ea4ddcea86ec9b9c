//! Runs every case of a C or C++ program, each in a process of its own.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::compile::{Linkage, Source};
use crate::run::{Exit, Run};

/// What `GRANULE_FRONTEND` may ask for.
pub const FRONT_ENDS: [&str; 2] = ["rseq", "thread"];

/// Runs all cases of `source` under `linkage`; the error names every case
/// that failed and how. `GRANULE_CASE` picks the cases whose name contains it.
///
/// Preloaded they run with either front end, linked with the one that the
/// process chooses; `GRANULE_FRONTEND` names one for all.
pub fn run_cases(source: &Source, linkage: Linkage) -> Result<()> {
    if linkage != Linkage::Preload || std::env::var_os("GRANULE_FRONTEND").is_some() {
        return run_cases_with(source, linkage, |run| run);
    }
    for front_end in FRONT_ENDS {
        run_cases_with(source, linkage, |run| run.env("GRANULE_FRONTEND", front_end))
            .with_context(|| format!("with GRANULE_FRONTEND={front_end}"))?;
    }
    Ok(())
}

/// The same, with every run set up by `configure`: limits, environment.
pub fn run_cases_with(
    source: &Source,
    linkage: Linkage,
    configure: impl Fn(Run) -> Run,
) -> Result<()> {
    let program = source.program(linkage)?;
    let list = configure(program.run()?).arg("--list").success()?;
    let filter = std::env::var("GRANULE_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    let mut count = 0;
    for case in list.lines() {
        if !case.contains(&filter) {
            continue;
        }
        count += 1;
        let start = Instant::now();
        let outcome = configure(program.run()?).arg(case).outcome()?;
        println!("{:7.3} s  {case}", start.elapsed().as_secs_f64());
        if outcome.exit != Exit::Code(0) {
            failures.push(format!("{case} {}", outcome.describe()));
        }
    }
    ensure!(count > 0 || !filter.is_empty(), "{source:?} lists no case");
    if !failures.is_empty() {
        bail!("{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
    }
    Ok(())
}

/// One test per program and linkage: `name::preload`, `name::dynamic` and
/// `name::fully_static`.
#[macro_export]
macro_rules! suites {
    ($($(#[$doc:meta])* $name:ident => $file:literal;)+) => { $(
        $(#[$doc])*
        mod $name {
            use $crate::{Linkage, Source, suite::run_cases};

            #[test]
            fn preload() -> anyhow::Result<()> {
                run_cases(&Source::new($file), Linkage::Preload)
            }

            #[test]
            fn dynamic() -> anyhow::Result<()> {
                run_cases(&Source::new($file), Linkage::Dynamic)
            }

            #[test]
            fn fully_static() -> anyhow::Result<()> {
                run_cases(&Source::new($file), Linkage::Static)
            }
        }
    )+ };
}
