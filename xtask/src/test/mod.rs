//! `cargo xtask test`: every test there is, in stages.
//!
//! A stage never stops the next one: a person wants to see all that is broken.
//! The last line is `N passed, N failed`, in which a stage counts as one; one
//! that the machine cannot run at all is told and counted apart.

mod emulated;
pub(crate) mod fuzz;
mod machines;
mod macos;
pub(crate) mod miri;
pub(crate) mod models;
mod portable;
mod real_programs;
mod tutorial;
mod windows;
pub(crate) mod workspace_tests;

use crate::figures::elapsed;
use crate::table::{Tone, heading, paint};
use crate::{Outcome, Verdict, setup};
use anyhow::{Result, bail};
use clap::Args;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// Options of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop at the first stage that fails
    #[arg(long)]
    fail_fast: bool,
    /// Only stages whose name contains one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// One stage.
pub(crate) struct Stage {
    /// Its name in the summary.
    name: String,
    /// Whether it writes to the terminal while it runs.
    output: Output,
    /// Its work: an error is a failure, and says why.
    work: Box<dyn FnOnce() -> Result<()>>,
}

/// Where a stage's own output goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    /// Straight to the terminal, below a heading.
    Shown,
    /// Nowhere, unless it fails: one line tells how it went.
    Quiet,
}

/// A stage that cannot run on this machine, and why. Not a failure: nothing
/// was found wrong.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Skipped(String),
    Failed(String),
}

/// How a stage went.
struct Done {
    name: String,
    time: Duration,
    end: End,
}

/// Runs `cargo xtask test`.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut stages = workspace_tests::stages();
    stages.push(models::stage());
    stages.push(miri::stage());
    stages.extend(fuzz::quick());
    stages.push(emulated::stage());
    stages.extend(windows::stages());
    stages.push(macos::stage());
    stages.push(portable::stage());
    stages.extend(real_programs::stages());
    stages.extend(machines::stages());
    stages.extend(tutorial::stages());
    retain(&mut stages, &options.names)?;
    // Before the first stage: a missing package is not a failed test.
    let mut needs = real_programs::needs();
    needs.extend(machines::needs());
    needs.extend(tutorial::needs());
    setup::ensure(&needs)?;
    Ok(perform_all(stages, options.fail_fast))
}

/// Leaves the stages whose name contains one of `names`, if any is given.
pub(crate) fn retain(stages: &mut Vec<Stage>, names: &[String]) -> Result<()> {
    if !names.is_empty() {
        stages.retain(|stage| names.iter().any(|name| stage.name.contains(name)));
        if stages.is_empty() {
            bail!("no stage of that name");
        }
    }
    Ok(())
}

/// Performs stages one after the other and sums up.
pub(crate) fn perform_all(stages: Vec<Stage>, fail_fast: bool) -> Verdict {
    let mut done = Vec::new();
    for stage in stages {
        let one = perform(stage);
        let failed = matches!(one.end, End::Failed(_));
        done.push(one);
        if failed && fail_fast {
            break;
        }
    }
    summary(&done)
}

/// Performs one stage and says how it went.
fn perform(stage: Stage) -> Done {
    let Stage { name, output, work } = stage;
    match output {
        Output::Shown => heading(&name),
        Output::Quiet => {
            print!("  {name:<44}");
            // A terminal that cannot be written to will show in the next print.
            let _ = stdout().flush();
        }
    }
    let started = Instant::now();
    let end = ended(work());
    let time = started.elapsed();
    let (verdict, tone) = match end {
        End::Passed => ("ok", Tone::Good),
        End::Skipped(_) => ("skipped", Tone::Bad),
        End::Failed(_) => ("FAILED", Tone::Bad),
    };
    let verdict = paint(verdict, tone, stdout().is_terminal());
    match output {
        Output::Shown => println!("{name}: {verdict} in {}", elapsed(time)),
        Output::Quiet => println!(" {verdict}  {}", elapsed(time)),
    }
    if let End::Skipped(reason) | End::Failed(reason) = &end {
        println!("{reason}");
    }
    Done { name, time, end }
}

fn ended(result: Result<()>) -> End {
    match result {
        Ok(()) => End::Passed,
        Err(error) if error.is::<Skipped>() => End::Skipped(error.to_string()),
        Err(error) => End::Failed(format!("{error:#}")),
    }
}

/// Prints all failures again, and the closing line.
fn summary(done: &[Done]) -> Verdict {
    heading("Summary");
    let time: Duration = done.iter().map(|one| one.time).sum();
    println!("{} stages in {}", done.len(), elapsed(time));
    let (mut failed, mut skipped) = (0, 0);
    for one in done {
        let (word, reason) = match &one.end {
            End::Passed => continue,
            End::Skipped(reason) => ("skipped", reason),
            End::Failed(reason) => ("FAILED", reason),
        };
        failed += usize::from(word == "FAILED");
        skipped += usize::from(word == "skipped");
        println!("{word} {}: {}", one.name, reason.lines().next().unwrap_or_default());
    }
    let passed = done.len() - failed - skipped;
    match skipped {
        0 => println!("{passed} passed, {failed} failed"),
        _ => println!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
    Verdict::from_check(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_neither_a_pass_nor_a_failure() {
        assert_eq!(ended(Ok(())), End::Passed);
        assert_eq!(ended(Err(Skipped("no".into()).into())), End::Skipped("no".into()));
        assert_eq!(ended(Err(anyhow::anyhow!("no"))), End::Failed("no".into()));
    }
}
