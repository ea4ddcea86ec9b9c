//! The stages of the fuzzer: the committed corpus by an ordinary test, and new
//! programs for as long as is asked, with coverage and address checks.
//!
//! `libfuzzer-sys` has the fuzzer, nightly's compiler the coverage that guides
//! it; the targets are programs of `host-tests/fuzz`. What a run finds new stays
//! in the build folder, beside what made it fail.

use super::workspace_tests::{shown, stream};
use super::{Skipped, Stage};
use crate::process::Job;
use crate::{setup, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// All targets: `fuzz-NAME` is the program, `corpus/NAME` what it starts from.
const TARGETS: [&str; 6] = ["heap", "slabs", "regions", "c_abi", "frames", "early"];

/// Time for each in `cargo xtask test`.
const SHORT: Duration = Duration::from_secs(4);

/// Sanitizers are a matter of the target.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// As `cargo fuzz` does: LLVM counts edges and tells what was compared.
const FLAGS: &str = "-Zsanitizer=address -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing";

/// The stages of `cargo xtask test`.
pub(super) fn quick() -> Vec<Stage> {
    let replay = || stream(workspace::cargo(["test", "--package", "granule-fuzz"])?);
    let mut stages = vec![shown("fuzz: the corpus, and random programs", replay)];
    stages.extend(self::stages(SHORT));
    stages
}

/// A stage for each target, so long.
pub(crate) fn stages(time: Duration) -> Vec<Stage> {
    let stage = |target| shown(&format!("fuzz: {target}"), move || fuzz(target, time));
    TARGETS.into_iter().map(stage).collect()
}

fn folder() -> PathBuf {
    workspace::target().join("fuzz")
}

fn fuzz(target: &str, time: Duration) -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err(Skipped(format!("the fuzzer is built for {TRIPLE} alone")).into());
    }
    build()?;
    // Beside the corpus of the repository, which grows by hand alone.
    let found = folder().join("found").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let corpus = workspace::root().join("host-tests/fuzz/corpus").join(target);
    let program = folder().join(TRIPLE).join("release").join(format!("fuzz-{target}"));
    let crashes = format!("-artifact_prefix={}/crash-{target}-", folder().display());
    let job = Job::new(program).arg(format!("-max_total_time={}", time.as_secs()));
    let job = job.args(["-max_len=4096", "-print_final_stats=1", "-verbosity=0"]).arg(crashes);
    let job = job.arg(found).arg(corpus);
    // Heaps live in programs for ever, so their slots are never freed.
    let job = job.env("ASAN_OPTIONS", "detect_leaks=0");
    stream_fuzzer(&job.timeout(time + Duration::from_secs(120)))
}

fn stream_fuzzer(job: &Job) -> Result<()> {
    let status = job.stream()?;
    if !status.success() {
        bail!("the fuzzer ended with {status}; its program is in {}", folder().display());
    }
    Ok(())
}

fn build() -> Result<()> {
    let cargo =
        setup::have_nightly(setup::NIGHTLY).map_err(|error| Skipped(format!("{error:#}")))?;
    let job = cargo.args(["build", "--release", "--target", TRIPLE, "--bins"]);
    let job = job.args(["--package", "granule-fuzz", "--features", "libfuzzer"]);
    let job = job.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", folder());
    // Each crate's coverage is its own; assertions are what is to fail.
    let job = job.env("CARGO_PROFILE_RELEASE_LTO", "off");
    let job = job.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    let job = job.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    let job = job.env_remove("RUSTUP_TOOLCHAIN").cwd(workspace::root());
    stream(job.timeout(workspace::BUILD_TIMEOUT))
}
