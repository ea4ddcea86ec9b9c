//! `cargo xtask bench`: patterns and real programs on granule and its peers.
//!
//! ```text
//! workloads (what)  ─┐
//!                    ├─ runner (how) ─ samples ─ report (tables), html, JSON
//! peers (on what)   ─┘
//! ```
//! It measures and never judges: no exit code depends on a time. What fails to
//! run on granule is a failure all the same.

mod html;
pub(crate) mod instructions;
mod peers;
mod programs;
mod report;
mod runner;
mod rust_door;
mod samples;
mod syscalls;
mod thp;
mod workloads;

use crate::process::Job;
use crate::setup::{self, Need};
use crate::table::heading;
use crate::{Outcome, Verdict, workspace};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use samples::Measured;
use serde::Serialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use workloads::Extent;

/// Options of `cargo xtask bench`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    counts: Option<Counts>,
    /// How often each workload runs on each allocator [default: 5, or 1 when quick]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// One round, at most 16 threads, no system calls: some minutes
    #[arg(long)]
    quick: bool,
    /// Through Rust's global allocator instead of `malloc`: a smaller table
    #[arg(long)]
    rust: bool,
    /// Transparent huge pages of the runs
    #[arg(long, value_enum, default_value_t = thp::Thp::Never)]
    thp: thp::Thp,
    /// Write every single measurement to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Granule with each of its presets as well, beside each other
    #[arg(long)]
    presets: bool,
    /// Granule alone, in each tier of checks and with sampled guard pages, against
    /// the tier none
    #[arg(long, conflicts_with_all = ["presets", "rust", "on"])]
    tiers: bool,
    /// Only allocators of this name, beside granule; may be given again
    #[arg(long, value_name = "ALLOCATOR")]
    on: Vec<String>,
    /// Another allocator as a peer: its name in tables, and a library to preload
    #[arg(long, value_name = "NAME=LIBRARY", value_parser = peers::Guest::parse)]
    #[arg(conflicts_with_all = ["tiers", "rust"])]
    with: Vec<peers::Guest>,
    /// Only workloads whose name and threads, as in "hot64 x2", contain one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// A thousand threads take their time on a busy machine.
const SCALING_TIMEOUT: Duration = Duration::from_secs(600);

/// What stands for itself.
#[derive(Subcommand)]
enum Counts {
    /// Count instructions of hits; fails where there are more than committed
    Instructions(instructions::Options),
    /// Count locks and cached bytes with up to 256 virtual CPUs
    Scaling,
    /// Time pools, arenas and batches beside the crates they compete with
    Kits,
    /// Time heaps that are made and ended, beside mimalloc's
    Heaps,
    /// Time heaps of one thread, with and without atomic updates
    Alone,
}

/// All that a report says.
#[derive(Serialize)]
struct Run {
    /// The machine, in one line.
    machine: String,
    /// Huge pages.
    huge_pages: String,
    /// How many rounds.
    rounds: usize,
    /// Allocators and where they came from.
    allocators: Vec<(&'static str, String)>,
    /// Allocators that could not be had, and why.
    skipped: Vec<(&'static str, String)>,
    /// Why system calls were not counted, if they were not.
    calls_not_counted: Option<String>,
    /// Every measurement.
    measured: Vec<Measured>,
}

/// What all this needs of the system.
pub(crate) fn needs() -> impl Iterator<Item = &'static Need> {
    peers::needs()
        .chain(workloads::needs())
        .chain(const { &[syscalls::STRACE, instructions::VALGRIND] })
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Outcome {
    match &options.counts {
        Some(Counts::Instructions(options)) => return instructions::run(options),
        Some(Counts::Scaling) => return scaling(),
        Some(Counts::Kits) => return program("granule-kits", &[]),
        Some(Counts::Heaps) => {
            let named = ["--features", "granule,mimalloc", "--bin", "heaps"];
            return program("granule-peers", &named);
        }
        Some(Counts::Alone) => {
            return program("granule-peers", &["--features", "granule", "--bin", "alone"]);
        }
        None => {}
    }
    // Before hours of measuring, not after them.
    for file in options.json.iter().chain(&options.html) {
        writable(file)?;
    }
    let started = Instant::now();
    let run = measure(options)?;
    report::print(&run, started.elapsed());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&run)?;
        std::fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))?;
    }
    if let Some(file) = &options.html {
        std::fs::write(file, html::page(&run)).with_context(|| format!("{}", file.display()))?;
    }
    let ours =
        run.measured.iter().flat_map(|one| &one.on).filter(|on| peers::is_ours(on.allocator));
    Ok(Verdict::from_check(ours.into_iter().all(|on| on.failure.is_none())))
}

/// Fails where a file cannot be written; one that is there keeps its contents.
fn writable(file: &Path) -> Result<()> {
    let opened = File::options().append(true).create(true).open(file);
    opened.map(drop).with_context(|| format!("{}", file.display()))
}

/// A program that measures and prints by itself.
fn program(package: &str, further: &[&str]) -> Outcome {
    setup::ensure(&peers::needs().collect::<Vec<_>>())?;
    let job = workspace::cargo(["run", "--release", "-q", "-p", package])?.args(further);
    Ok(Verdict::from_check(job.timeout(SCALING_TIMEOUT).stream()?.success()))
}

/// Runs `cargo xtask bench scaling`.
fn scaling() -> Outcome {
    heading("Locks and caches of the portable front end as virtual CPUs grow");
    println!();
    let status = scaling_job()?.stream()?;
    println!("\n  contended: tries for a lock in 1,000 operations that found it taken.");
    Ok(Verdict::from_check(status.success()))
}

/// The program of `cargo xtask bench scaling`.
pub(crate) fn scaling_job() -> Result<Job> {
    workspace::build_release("granule-counts")?;
    let program = workspace::target().join("release/granule-scaling");
    Ok(Job::new(program).timeout(SCALING_TIMEOUT))
}

fn measure(options: &Options) -> Result<Run> {
    setup::ensure(&workloads::needs().collect::<Vec<_>>())?;
    workspace::build_release("granule-patterns")?;
    let program = workspace::target().join("release/granule-patterns");
    let extent = match options {
        Options { rust: true, .. } => Extent::Rust,
        Options { quick: true, .. } => Extent::Quick,
        _ => Extent::Full,
    };
    let workloads = workloads::choose(&program, &options.names, extent)?;
    let (mut contenders, absent) = match extent {
        Extent::Rust => rust_door::assemble()?,
        _ if options.tiers => (peers::tiers(&program)?, Vec::new()),
        _ => peers::assemble(&program)?,
    };
    contenders.retain(|one| {
        let named = options.on.is_empty() || options.on.iter().any(|name| name == one.name);
        named || one.name == peers::OURS
    });
    for guest in &options.with {
        contenders.push(guest.ready(&program)?);
    }
    if options.presets
        && let Some(at) = contenders.iter().position(|one| one.name == peers::OURS)
    {
        let presets = peers::presets(&contenders[at]);
        contenders.splice(at + 1..at + 1, presets);
    }
    let counter = match extent {
        _ if options.quick => Err(anyhow::anyhow!("a quick run")),
        _ => syscalls::Counter::ready(),
    };
    let rounds = usize::from(options.rounds.unwrap_or(if options.quick { 1 } else { 5 }));
    let huge_pages = options.thp.apply()?;
    eprintln!("transparent huge pages: {huge_pages}");
    let measured = runner::measure(&workloads, &contenders, rounds, counter.as_ref().ok())?;
    Ok(Run {
        machine: machine(),
        huge_pages,
        rounds,
        allocators: contenders.into_iter().map(|one| (one.name, one.origin)).collect(),
        skipped: absent.into_iter().map(|one| (one.name, one.why)).collect(),
        calls_not_counted: counter.err().map(|error| format!("{error:#}")),
        measured,
    })
}

/// Processors and kernel, in one line.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    format!("{processors} CPUs, {}, Linux {kernel}", model.unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::writable;

    #[test]
    fn a_report_that_cannot_be_written_is_found_out_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("report");
        std::fs::write(&file, "the last one").expect("written");
        writable(&file).expect("writable");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "the last one");
        assert!(writable(&folder.path().join("missing/report")).is_err());
        assert!(writable(folder.path()).is_err());
    }
}
