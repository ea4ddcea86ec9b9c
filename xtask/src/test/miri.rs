//! The stages that interpret the core's tests in Miri: every access checked for
//! provenance, aliasing, races, alignment and validity.
//!
//! `cargo xtask test` interprets a part of them in a few minutes, `cargo xtask
//! verify` all, with both models of aliasing, on a 32-bit machine and on
//! one that stores the high byte first.

use super::Stage;
use super::workspace_tests::{shown, stream};
use crate::test::Skipped;
use crate::{setup, workspace};
use anyhow::Result;
use std::time::Duration;

/// What every run asks for: no integer becomes a pointer again, the environment
/// and the clock may be looked at, and what panics on purpose walks no stack,
/// which takes seconds.
const FLAGS: &str =
    "-Zmiri-strict-provenance -Zmiri-disable-isolation -Zmiri-env-set=RUST_BACKTRACE=0";

/// The tests that `cargo xtask test` has time for: each layer's parts, and of
/// whole heaps those that take seconds. The rest takes hours.
const QUICK: &[&str] = &[
    "arena::",
    "base::",
    "cache::sheaf",
    "cache::depot",
    "cache::deferred",
    "cache::slot",
    "cache::runs::tests::a_run",
    "heap::owned::tests::a_heap_that_is_dropped",
    "pools::",
    "region::bins",
    "region::layout",
    "region::span",
    "region::runs::tests::runs_behave",
    "region::set::tests::a_clock",
    "slab::header",
    "slab::slabs::tests::an_object",
];

/// Also asked for where all tests run: weak memory is not played. The interpreter ends
/// with an error of its own where atomics lie on what was plain bytes before ("cannot
/// have empty store buffer when previous write was atomic"), as in heaps they do. Weak
/// memory is what the models of loom are for, and the quick part has it.
const WHOLE_FLAGS: &str = "-Zmiri-disable-weak-memory-emulation";

/// Time for one run of all tests.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// One way to run.
struct Run {
    name: &'static str,
    flags: &'static str,
    target: Option<&'static str>,
}

const USUAL: Run = Run { name: "Stacked Borrows", flags: "", target: None };

const ALL: [Run; 4] = [
    USUAL,
    Run { name: "Tree Borrows", flags: "-Zmiri-tree-borrows", target: None },
    Run { name: "32 bits", flags: "", target: Some("i686-unknown-linux-gnu") },
    Run { name: "high byte first", flags: "", target: Some("s390x-unknown-linux-gnu") },
];

/// How much of the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Quick,
    Whole,
}

/// The stage of `cargo xtask test`.
pub(super) fn stage() -> Stage {
    stage_of(USUAL, Extent::Quick)
}

/// The stages of `cargo xtask verify`.
pub(crate) fn stages() -> Vec<Stage> {
    ALL.into_iter().map(|run| stage_of(run, Extent::Whole)).collect()
}

fn stage_of(run: Run, extent: Extent) -> Stage {
    shown(&format!("Miri, {}", run.name), move || perform(&run, extent))
}

fn perform(run: &Run, extent: Extent) -> Result<()> {
    let cargo =
        setup::have_nightly(setup::NIGHTLY).map_err(|error| Skipped(format!("{error:#}")))?;
    let mut job = cargo.args(["miri", "test", "--package", "granule-core", "--lib"]);
    if let Some(target) = run.target {
        job = job.args(["--target", target]);
    }
    job = job.arg("--");
    if extent == Extent::Quick {
        job = job.args(QUICK);
    }
    let whole = if extent == Extent::Whole { WHOLE_FLAGS } else { "" };
    let flags = format!("{FLAGS} {whole} {}", run.flags);
    let job = job.env("PROPTEST_CASES", "1").env("MIRIFLAGS", flags);
    // Its own folder and toolchain: cargo hands down the one that runs us.
    let job = job.env("CARGO_TARGET_DIR", workspace::target().join("miri"));
    let job = job.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTFLAGS");
    stream(job.cwd(workspace::root()).timeout(LIMIT))
}
