//! Small allocation patterns, each our own writing of one that the literature
//! on allocators uses.
//!
//! ```text
//! granule-patterns list                      NAME <tab> THREADS <tab> ABOUT
//! granule-patterns NAME THREADS [OPERATIONS] NANOSECONDS OPERATIONS PEAK_KIB END_KIB LIVE_KIB
//! ```
//! The work is fixed, not the time: the operations are shared among the
//! threads, so that a run costs as much on 64 threads as on one, but for what
//! the threads cost each other. `END_KIB` and `LIVE_KIB` are 0 unless the
//! workload is about them.
//!
//! `cargo xtask bench` runs it in a process per measurement, interleaved over
//! allocators, and does the arithmetic. It is a ruler, not a test: nothing here
//! passes or fails by time.
//!
//! Two doors: `malloc`, or with a feature Rust's global allocator.

mod block;
mod memory;
mod random;
mod team;
mod workloads;

use anyhow::{Context, Result, bail};
use std::env;
use workloads::WORKLOADS;

/// The whole program; a binary chooses the allocator and calls this.
pub fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["list"] => {
            list();
            Ok(())
        }
        // A process that starts, allocates as every process does, and ends.
        [workloads::NOTHING] => Ok(()),
        [name, threads] => measure(name, threads, None),
        [name, threads, operations] => measure(name, threads, Some(operations)),
        _ => bail!("usage: granule-patterns list | NAME THREADS [OPERATIONS]"),
    }
}

/// Prints one line per workload and number of threads worth measuring.
fn list() {
    for workload in WORKLOADS {
        for threads in workload.threads {
            println!("{}\t{threads}\t{}", workload.name, workload.about);
        }
    }
}

/// Runs one workload and prints what it took.
fn measure(name: &str, threads: &str, operations: Option<&str>) -> Result<()> {
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let workload = workload.with_context(|| format!("there is no workload {name}"))?;
    let threads: usize = threads.parse().context("THREADS")?;
    if threads == 0 {
        bail!("THREADS must be at least 1");
    }
    let operations = match operations {
        Some(operations) => operations.parse().context("OPERATIONS")?,
        None => workload.operations,
    };
    let took = (workload.run)(threads, operations);
    let peak = memory::peak_kib()?;
    let (end, live) = took.end.map_or((0, 0), |end| (end.resident_kib, end.live_kib));
    println!("{} {operations} {peak} {end} {live}", took.time.as_nanos());
    Ok(())
}
