//! `cargo xtask bench`: small patterns under glibc, granule, mimalloc, jemalloc.
//!
//! ```text
//! workloads (what)  ─┐
//!                    ├─ runner (how) ─ measurements ─ report (table, JSON)
//! allocators (on)   ─┘
//! ```
//! It measures and never judges: no exit code depends on a time.

mod report;
mod runner;
mod workloads;

use crate::allocator::Allocator;
use crate::{Outcome, Verdict, setup, workspace};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each workload runs on each allocator
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Write every single measurement to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only workloads whose name contains one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Who is compared: the baseline first, then ours.
const ALLOCATORS: [Allocator; 4] =
    [Allocator::Glibc, Allocator::Granule, Allocator::Mimalloc, Allocator::Jemalloc];

/// Runs `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Outcome {
    setup::ensure(&setup::BENCH.iter().collect::<Vec<_>>())?;
    workspace::build_release("granule-patterns")?;
    let program = workspace::target().join("release/granule-patterns");
    let workloads = workloads::choose(&program, &options.names)?;
    let allocators: Vec<_> = ALLOCATORS
        .into_iter()
        .map(|allocator| {
            let preload = allocator.ready()?;
            preload.prove(&program, "list")?;
            Ok((allocator, preload))
        })
        .collect::<Result<_>>()?;
    let rounds = usize::from(options.rounds);
    let measured = runner::measure(&program, &workloads, &allocators, rounds)?;
    report::print(&measured, rounds);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&measured)?;
        std::fs::write(file, text + "\n").with_context(|| format!("{}", file.display()))?;
    }
    Ok(Verdict::Good)
}
