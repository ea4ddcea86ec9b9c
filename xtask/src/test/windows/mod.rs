//! The stages of Windows: its shim, the heap's models and `granule.dll`, built
//! by mingw and run by wine.
//!
//! ```text
//! target/windows/  prefix/              wine's own folder: no other is touched
//!                  bcryptprimitives.dll what wine 8 lacks and Rust's library wants
//!                  *.exe, granule.dll   the C programs
//! ```
//! What wine plays is not Windows: limits of a job, large pages and nodes are
//! not there, and a reset page is gone at once.

mod dll;
mod wine;

use super::Stage;
use super::workspace_tests::{shown, stream};
use crate::workspace;
use anyhow::Result;
use std::time::Duration;
use wine::Wine;

/// What is built for.
const TRIPLE: &str = "x86_64-pc-windows-gnu";

/// How long build and run of one stage may take, without downloads. They take
/// two minutes, and longer on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// The tests of `host-tests` that are of no one system.
const TESTS: [&str; 8] = [
    "providers",
    "heap_model",
    "differential",
    "exhaustion",
    "threads",
    "global_allocator",
    "frames",
    "windows",
];

/// The stages.
pub(super) fn stages() -> Vec<Stage> {
    vec![
        shown("windows: the shim, heaps and threads, under wine", rust_tests),
        shown("windows: granule.dll and C programs, under wine", || dll::run(&Wine::set_up()?)),
    ]
}

fn rust_tests() -> Result<()> {
    let wine = Wine::set_up()?;
    for package in ["granule", "granule-malloc"] {
        let clippy = ["clippy", "--release", "--target", TRIPLE, "--package", package];
        stream(workspace::cargo(clippy)?.args(["--", "-D", "warnings"]).timeout(LIMIT))?;
    }
    let cargo = |package: &str| -> Result<_> {
        let cargo = workspace::cargo(["test", "--target", TRIPLE, "--package", package])?;
        Ok(wine.for_cargo(cargo).timeout(LIMIT))
    };
    stream(cargo("granule")?.arg("--lib"))?;
    stream(cargo("granule-host-tests")?.args(TESTS.iter().flat_map(|test| ["--test", test])))
}
