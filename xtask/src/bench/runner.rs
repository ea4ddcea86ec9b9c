//! Runs workloads in processes of their own, interleaved over allocators.
//!
//! Within a round the allocators take turns, and each round starts with
//! another, so that a machine that slows down slows all of them.

use super::workloads::Workload;
use crate::allocator::{Allocator, Preload};
use crate::process::Job;
use crate::progress::Progress;
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// One workload on all allocators.
#[derive(Serialize)]
pub(super) struct Measured {
    /// Its name.
    pub(super) workload: String,
    /// How many threads.
    pub(super) threads: String,
    /// What one operation is.
    pub(super) about: String,
    /// One entry an allocator, in the order they were given.
    pub(super) on: Vec<Samples>,
}

/// All rounds of one workload on one allocator.
#[derive(Serialize)]
pub(super) struct Samples {
    /// The allocator's name.
    pub(super) allocator: &'static str,
    /// Wall nanoseconds per operation of a thread.
    pub(super) nanoseconds: Vec<f64>,
    /// User and system seconds of the process.
    pub(super) cpu_seconds: Vec<f64>,
    /// Peak resident memory of the process.
    pub(super) peak_kib: Vec<f64>,
}

/// A workload that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Measures every workload on every allocator, `rounds` times.
pub(super) fn measure(
    program: &Path,
    workloads: &[Workload],
    allocators: &[(Allocator, Preload)],
    rounds: usize,
) -> Result<Vec<Measured>> {
    let mut measured: Vec<_> =
        workloads.iter().map(|workload| Measured::new(workload, allocators)).collect();
    let progress = Progress::new(rounds * workloads.len());
    for round in 0..rounds {
        for one in &mut measured {
            progress.say(&format!("round {} of {rounds}: {}", round + 1, one.title()));
            for turn in 0..allocators.len() {
                let at = (round + turn) % allocators.len();
                one.sample(program, at, &allocators[at].1)?;
            }
            progress.step();
        }
    }
    Ok(measured)
}

impl Measured {
    fn new(workload: &Workload, allocators: &[(Allocator, Preload)]) -> Measured {
        let on = allocators.iter().map(|(allocator, _)| Samples {
            allocator: allocator.name(),
            nanoseconds: Vec::new(),
            cpu_seconds: Vec::new(),
            peak_kib: Vec::new(),
        });
        Measured {
            workload: workload.name.clone(),
            threads: workload.threads.clone(),
            about: workload.about.clone(),
            on: on.collect(),
        }
    }

    /// Its name and its threads.
    pub(super) fn title(&self) -> String {
        format!("{} x{}", self.workload, self.threads)
    }

    /// Runs it once on the allocator at `at`.
    fn sample(&mut self, program: &Path, at: usize, under: &Preload) -> Result<()> {
        let job = Job::new(program).args([&self.workload, &self.threads]).timeout(TIMEOUT);
        let done = under.apply_plainly(job).run_ok()?;
        let (nanoseconds, peak_kib) = read(&done.text())?;
        let samples = &mut self.on[at];
        samples.nanoseconds.push(nanoseconds);
        samples.cpu_seconds.push(done.cost.cpu.as_secs_f64());
        samples.peak_kib.push(peak_kib);
        Ok(())
    }
}

/// Reads what the program printed: nanoseconds per operation, and KiB.
fn read(text: &str) -> Result<(f64, f64)> {
    let numbers: Vec<f64> =
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("a figure")?;
    let [nanoseconds, operations, peak_kib] = numbers[..] else {
        anyhow::bail!("expected three figures, got {text:?}");
    };
    Ok((nanoseconds / operations, peak_kib))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn figures_are_per_operation() {
        assert_eq!(read("5000 1000 2048\n").expect("three figures"), (5.0, 2048.0));
        assert!(read("5000 1000").is_err());
        assert!(read("five 1000 2048").is_err());
    }
}
