//! Counts the system calls of a process and its threads, by `strace`.

use crate::allocator::Preload;
use crate::process::Job;
use crate::setup::{self, Need};
use crate::tools;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The tracer.
pub(super) const STRACE: Need = Need::program("strace", &["strace"]);

/// Somebody who can count.
pub(super) struct Counter {
    strace: PathBuf,
}

impl Counter {
    /// Finds the tracer and tries it: where tracing is forbidden, it is an
    /// error.
    pub(super) fn ready() -> Result<Counter> {
        setup::ensure(&[&STRACE])?;
        let counter = Counter { strace: tools::require("strace")? };
        counter.count(&Job::new(tools::require("true")?), &Preload::plain())?;
        Ok(counter)
    }

    /// How many calls `job` makes on this allocator.
    pub(super) fn count(&self, job: &Job, under: &Preload) -> Result<f64> {
        let traced = job.clone().through(&self.strace, |args| {
            args.extend(["-f", "-c", "-U", "calls,name"].map(Into::into));
            // The tracer itself stays on what it is linked to.
            if let Some(library) = under.library() {
                let mut variable = std::ffi::OsString::from("LD_PRELOAD=");
                variable.push(library);
                args.extend(["-E".into(), variable]);
            }
            if let Some((name, value)) = under.setting() {
                args.extend(["-E".into(), format!("{name}={value}").into()]);
            }
        });
        let done = traced.env_remove("LD_PRELOAD").run_ok()?;
        total(&String::from_utf8_lossy(&done.stderr)).context("strace tells no total")
    }
}

/// The total of the summary.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_the_last_line() {
        let summary =
            "    calls syscall\n--------- -----\n       12 mmap\n------\n      29 total\n";
        assert_eq!(total(summary), Some(29.0));
        assert_eq!(total("nothing"), None);
    }
}
