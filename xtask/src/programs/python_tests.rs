//! Python's own test suite, module by module.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::{Result, bail};
use std::time::Duration;

/// What all modules share.
const MODULE: Program = Program {
    name: "python3's own tests",
    about: "a module of Python's own test suite",
    needs: &[setup::PYTHON, setup::PYTHON_TESTS],
    proof: ("python3", "--version"),
    judge: Judge::Itself,
    timeout: Duration::from_secs(600),
    run: |_| bail!("names no module"),
};

/// Encoding and decoding, recursion limits.
pub(crate) const JSON: Program =
    Program { name: "python3 test_json", run: |stage| run(stage, "test_json"), ..MODULE };
/// Hash tables that grow and shrink.
pub(crate) const DICT: Program =
    Program { name: "python3 test_dict", run: |stage| run(stage, "test_dict"), ..MODULE };
/// Arrays that grow and shrink; impossible sizes that must raise MemoryError.
pub(crate) const LIST: Program =
    Program { name: "python3 test_list", run: |stage| run(stage, "test_list"), ..MODULE };
/// The regular expression engine.
pub(crate) const RE: Program =
    Program { name: "python3 test_re", run: |stage| run(stage, "test_re"), ..MODULE };
/// Threads that come and go, and fork from a threaded process.
pub(crate) const THREADING: Program =
    Program { name: "python3 test_threading", run: |stage| run(stage, "test_threading"), ..MODULE };
/// Process pools by fork, shared memory, queues.
pub(crate) const MULTIPROCESSING_FORK: Program = Program {
    name: "python3 test_multiprocessing_fork",
    run: |stage| run(stage, "test_multiprocessing_fork"),
    ..MODULE
};

fn run(stage: &Stage<'_>, module: &str) -> Result<Observed> {
    // What fails is run again, which names it; it has failed all the same. What hangs says
    // where before our own time is up.
    let job = stage.job("python3")?.args(["-m", "test", "-v", "-w", "--timeout=480", module]);
    let done = job.env("TMPDIR", stage.dir).run_ok()?;
    // A module that skips itself as a whole exits 0 as well.
    if !done.text().contains("Tests result: SUCCESS") {
        bail!("{module} did not end in success\n{}", done.tail());
    }
    Ok(Observed { cost: done.cost, output: Vec::new() })
}
