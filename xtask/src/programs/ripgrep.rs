//! ripgrep: a multi-threaded Rust program over a tree of sources.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::{Result, bail};
use std::time::Duration;

/// Four threads over the library of the system's Python.
pub(crate) const RIPGREP: Program = Program {
    name: "ripgrep",
    about: "four threads searching Python's library",
    needs: &[setup::RIPGREP, setup::PYTHON],
    proof: ("rg", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(120),
    run,
};

/// Patterns with many hits, with captures, and with a large automaton.
const PATTERNS: [&str; 3] =
    [r"def \w+\(self(, \w+)*\):", r"\b(\w)\w+ (import|return) \w+", r"(?i)[a-z]{12,}ing\b"];

fn run(stage: &Stage<'_>) -> Result<Observed> {
    let where_is = ["-c", "import os; print(os.path.dirname(os.__file__))"];
    let tree = stage.bystander("python3")?.args(where_is).run_ok()?.text();
    let mut seen = Observed::default();
    for pattern in PATTERNS {
        // Only sources: Python itself may write compiled files meanwhile.
        let job = stage.job("rg")?.args(["-n", "-j", "4", "--no-ignore", "-t", "py"]);
        let done = job.args(["-e", pattern, tree.trim()]).run_ok()?;
        seen.cost = seen.cost.then(done.cost);
        // Threads print their files in any order.
        let mut lines: Vec<&[u8]> = done.stdout.split(|byte| *byte == b'\n').collect();
        lines.sort_unstable();
        if lines.len() < 100 {
            bail!("{pattern} is found {} times in all of Python's library", lines.len());
        }
        seen.output.push((pattern, lines.join(&b'\n')));
    }
    Ok(seen)
}
