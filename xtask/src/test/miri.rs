//! The stages that interpret the core's tests in Miri: every access checked for
//! provenance, aliasing, races, alignment and validity.
//!
//! `cargo xtask test` interprets a part of them in a few minutes, `cargo xtask
//! verify` all, with both models of aliasing, on a 32-bit machine and on
//! one that stores the high byte first.

use super::Stage;
use super::workspace_tests::{shown, stream};
use crate::process::Job;
use crate::test::Skipped;
use crate::{setup, workspace};
use anyhow::{Result, bail, ensure};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
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
    "cache::list",
    "cache::slot",
    "cache::stash",
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

/// Time for a run of the quick part, or of some of all tests.
const LIMIT: Duration = Duration::from_secs(3600);

/// Tests that a process interprets where all run: one uses one CPU, and says what it
/// found when it is through.
const TOGETHER: usize = 6;

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
    let job = cargo.args(["miri", "test", "--package", "granule-core", "--lib"]);
    let job = match run.target {
        Some(target) => job.args(["--target", target]),
        None => job,
    };
    let job = job.arg("--");
    let whole = if extent == Extent::Whole { WHOLE_FLAGS } else { "" };
    let flags = format!("{FLAGS} {whole} {}", run.flags);
    let job = job.env("PROPTEST_CASES", "1").env("MIRIFLAGS", flags);
    // Its own folder and toolchain: cargo hands down the one that runs us.
    let job = job.env("CARGO_TARGET_DIR", workspace::target().join("miri"));
    let job = job.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTFLAGS");
    let job = job.cwd(workspace::root()).timeout(LIMIT);
    match extent {
        Extent::Quick => stream(job.args(QUICK)),
        Extent::Whole => interpret_all(&job),
    }
}

/// Interprets every test there is, as many processes at a time as there are CPUs, and
/// prints what each found.
fn interpret_all(job: &Job) -> Result<()> {
    let list = job.clone().arg("--list").run_ok()?.text();
    let names: Vec<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    ensure!(!names.is_empty(), "no tests are listed:\n{list}");
    let left = Mutex::new(names.chunks(TOGETHER));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(some) = next(&left) {
                    if let Err(failure) = interpret(job, some) {
                        lock(&failures).push(format!("{failure:#}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// Interprets these tests, and is content if it has seen each of them pass.
fn interpret(job: &Job, names: &[&str]) -> Result<()> {
    let text = job.clone().arg("--exact").args(names).run_ok()?.text();
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ok"));
    let passed: Vec<_> = passed.collect();
    println!("{}", passed.join("\n"));
    ensure!(passed.len() == names.len(), "not all of {names:?} passed:\n{text}");
    Ok(())
}

fn next<'a>(left: &Mutex<std::slice::Chunks<'a, &'a str>>) -> Option<&'a [&'a str]> {
    lock(left).next()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
