//! `cargo xtask test`: every test there is, in stages.
//!
//! A stage never stops the next one: a person wants to see all that is broken.
//! The last line is `N passed, N failed`, in which a stage counts as one.

mod real_programs;
mod workspace_tests;

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
struct Stage {
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

/// How a stage went.
struct Done {
    name: String,
    time: Duration,
    failure: Option<String>,
}

/// Runs `cargo xtask test`.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut stages = workspace_tests::stages();
    stages.extend(real_programs::stages());
    if !options.names.is_empty() {
        let wanted = |stage: &Stage| options.names.iter().any(|name| stage.name.contains(name));
        stages.retain(wanted);
        if stages.is_empty() {
            bail!("no stage of that name");
        }
    }
    // Before the first stage: a missing package is not a failed test.
    setup::ensure(&real_programs::needs())?;
    let mut done = Vec::new();
    for stage in stages {
        let one = perform(stage);
        let failed = one.failure.is_some();
        done.push(one);
        if failed && options.fail_fast {
            break;
        }
    }
    Ok(summary(&done))
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
    let failure = work().err().map(|error| format!("{error:#}"));
    let time = started.elapsed();
    let (verdict, tone) = match failure {
        None => ("ok", Tone::Good),
        Some(_) => ("FAILED", Tone::Bad),
    };
    let verdict = paint(verdict, tone, stdout().is_terminal());
    match output {
        Output::Shown => println!("{name}: {verdict} in {}", elapsed(time)),
        Output::Quiet => println!(" {verdict}  {}", elapsed(time)),
    }
    if let Some(reason) = &failure {
        println!("{reason}");
    }
    Done { name, time, failure }
}

/// Prints all failures again, and the closing line.
fn summary(done: &[Done]) -> Verdict {
    heading("Summary");
    let failed: Vec<&Done> = done.iter().filter(|one| one.failure.is_some()).collect();
    let time: Duration = done.iter().map(|one| one.time).sum();
    println!("{} stages in {}", done.len(), elapsed(time));
    for one in &failed {
        let reason = one.failure.as_deref().unwrap_or_default();
        println!("FAILED {}: {}", one.name, reason.lines().next().unwrap_or_default());
    }
    println!("{} passed, {} failed", done.len() - failed.len(), failed.len());
    Verdict::from_check(failed.is_empty())
}
