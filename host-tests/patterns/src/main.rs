//! Small allocation patterns on the C library's `malloc` of this process:
//! whichever library was preloaded serves, so that one binary measures all.
//!
//! ```text
//! granule-patterns list                      NAME <tab> THREADS <tab> ABOUT
//! granule-patterns NAME THREADS [OPERATIONS] NANOSECONDS OPERATIONS PEAK_KIB
//! ```
//! `cargo xtask bench` runs it in a process per measurement, interleaved over
//! allocators, and does the arithmetic. It is a ruler, not a test: nothing here
//! passes or fails by time.

mod block;
mod random;
mod team;
mod workloads;

use anyhow::{Context, Result, bail};
use std::env;
use workloads::WORKLOADS;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["list"] => {
            list();
            Ok(())
        }
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
    let time = (workload.run)(threads, operations);
    println!("{} {operations} {}", time.as_nanos(), peak_kib()?);
    Ok(())
}

/// The peak resident memory of this process, by its own account: what its
/// parent is told includes the parent's memory up to the exec.
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).context("the kernel tells no VmHWM")
}
