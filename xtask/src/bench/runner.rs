//! Runs workloads in processes of their own, interleaved over allocators.
//!
//! Within a round the allocators take turns, and each round starts with
//! another, so that a machine that slows down slows all of them.

use super::peers::Contender;
use super::samples::{Failure, Measured, Sample};
use super::syscalls::Counter;
use super::workloads::{Kind, Workload};
use crate::process::{Cost, Job};
use crate::programs::Scale;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// A workload that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Measures every workload on every allocator, `rounds` times, then counts
/// system calls once, where there is somebody to count them.
///
/// What fails on one allocator is kept as its failure and not run again.
pub(super) fn measure(
    workloads: &[Workload],
    contenders: &[Contender],
    rounds: usize,
    counter: Option<&Counter>,
) -> Result<Vec<Measured>> {
    let names: Vec<_> = contenders.iter().map(|contender| contender.name).collect();
    let mut measured: Vec<_> =
        workloads.iter().map(|workload| Measured::new(workload, &names)).collect();
    let passes = rounds + usize::from(counter.is_some());
    let progress = Progress::new(passes * workloads.len());
    for round in 0..rounds {
        for (one, workload) in measured.iter_mut().zip(workloads) {
            progress.say(&format!("round {} of {rounds}: {}", round + 1, workload.title()));
            for turn in 0..contenders.len() {
                let at = (round + turn) % contenders.len();
                if one.on[at].failure.is_some() {
                    continue;
                }
                match sample(workload, &contenders[at]) {
                    Ok(sample) => one.on[at].samples.push(sample),
                    Err(error) => one.on[at].failure = Some(Failure::new(&error)),
                }
            }
            progress.step();
        }
    }
    if let Some(counter) = counter {
        for (one, workload) in measured.iter_mut().zip(workloads) {
            progress.say(&format!("system calls: {}", workload.title()));
            if let Kind::Pattern(threads) = workload.kind {
                for (on, contender) in one.on.iter_mut().zip(contenders) {
                    let job = pattern(&contender.program, workload, threads);
                    // Some allocator may not like to be traced: not counted.
                    on.system_calls = counter.count(&job, &contender.preload).ok();
                }
            }
            progress.step();
        }
    }
    Ok(measured)
}

fn pattern(program: &Path, workload: &Workload, threads: usize) -> Job {
    Job::new(program).args([&workload.name, &threads.to_string()]).timeout(TIMEOUT)
}

/// Runs `workload` once.
fn sample(workload: &Workload, on: &Contender) -> Result<Sample> {
    match workload.kind {
        Kind::Pattern(threads) => {
            let job = on.preload.apply_plainly(pattern(&on.program, workload, threads));
            let done = job.run_ok()?;
            read(&done.text(), &done.cost)
        }
        Kind::Program(program) => {
            Ok(Sample::of_program(&program.observe(&on.preload, Scale::Demo)?.cost))
        }
    }
}

/// Reads what the patterns program printed.
pub(super) fn read(text: &str, cost: &Cost) -> Result<Sample> {
    let numbers: Vec<f64> =
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("a figure")?;
    let [nanoseconds, _operations, peak_kib, end_kib, live_kib] = numbers[..] else {
        anyhow::bail!("expected five figures, got {text:?}");
    };
    let mut sample = Sample::of_program(cost);
    // By its own clock and account: not what it costs to start it, nor the
    // memory of who did.
    sample.wall_seconds = nanoseconds / 1e9;
    sample.peak_kib = peak_kib;
    if live_kib > 0.0 {
        sample.end_to_live = Some(end_kib / live_kib);
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_prints_five_figures() {
        let cost = Cost::default();
        let sample = read("5000000000 1000 2048 300 100\n", &cost).expect("five figures");
        assert_eq!((sample.wall_seconds, sample.peak_kib), (5.0, 2048.0));
        assert_eq!(sample.end_to_live, Some(3.0));
        assert_eq!(read("5 1000 2048 0 0", &cost).expect("five").end_to_live, None);
        assert!(read("5000 1000", &cost).is_err());
        assert!(read("five 1000 2048 0 0", &cost).is_err());
    }
}
