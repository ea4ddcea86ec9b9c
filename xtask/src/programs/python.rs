//! The system's Python, running a script that allocates as programs do.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::Result;
use std::time::Duration;

/// Builds, joins, sorts and drops records, text, trees and big numbers.
const SCRIPT: &str = include_str!("scripts/records.py");

/// As everybody runs it: Python keeps small objects to itself.
pub(crate) const DEFAULT: Program = Program {
    name: "python3",
    about: "records, JSON, text, trees and big numbers",
    needs: &[setup::PYTHON],
    proof: ("python3", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(120),
    run: |stage| run(stage, "default"),
};

/// Every single object from `malloc`: the heavier load for an allocator.
pub(crate) const ALL_MALLOC: Program = Program {
    name: "python3, all malloc",
    about: "the same with PYTHONMALLOC=malloc",
    run: |stage| run(stage, "malloc"),
    ..DEFAULT
};

fn run(stage: &Stage<'_>, python_malloc: &str) -> Result<Observed> {
    let script = stage.write("records.py", SCRIPT)?;
    let job = stage.job("python3")?.arg(script).arg(stage.scaled("1", "4"));
    // The order of sets follows the hash seed; it is not the allocator's doing.
    let job = job.env("PYTHONMALLOC", python_malloc).env("PYTHONHASHSEED", "0");
    Ok(Observed::stdout(job.run_ok()?))
}
