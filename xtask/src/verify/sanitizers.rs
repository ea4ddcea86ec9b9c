//! Core, platform and the host tests in Rust under the compiler's sanitizers, with the
//! standard library built anew so that it is watched, too.
//!
//! Sanitizers know of no access in assembly, so the process's heap is built without
//! (`--cfg granule_portable`). Nothing is suppressed: what they report is a bug.
//!
//! What AddressSanitizer watches is what the C library's `malloc` and the compiler
//! gave out: the tests' own buffers, also those under heaps, stacks and statics.
//! Pages that granule maps are whole to it, so an overflow inside of them is for
//! granule's own tiers of checks to find, and for Miri.
//!
//! Not run here:
//! - programs in C and C++: both sanitizers have a `malloc` of their own in the
//!   program, which would stand in for the one under test, and refuse to be preloaded
//!   behind another; and the library that such programs are linked with is the one
//!   with assembly. Whatever of it is not assembly runs here, by Rust's door;
//! - tests of what is assembly, of settings of the machine, and of signal handlers that
//!   allocate, which is promised for caches of CPUs alone (`rseq`, `presets`, `huge`,
//!   `reserve`, `signals`);
//! - documentation's examples, which `cargo test` runs.

use crate::process::Job;
use crate::test::workspace_tests::{shown, stream};
use crate::test::{Skipped, Stage};
use crate::{setup, workspace};
use anyhow::{Result, ensure};

/// What they are built for: sanitizers are a matter of the target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The files of `host-tests/tests` that are run.
const HOST_TESTS: [&str; 11] = [
    "differential",
    "exhaustion",
    "fork_heaps",
    "frames",
    "global_allocator",
    "heap_model",
    "numa",
    "owned_heaps",
    "providers",
    "scoped",
    "threads",
];

/// One of the sanitizers.
#[derive(Clone, Copy)]
struct Sanitizer {
    /// As the compiler calls it.
    name: &'static str,
    /// Its variable, and what is said there.
    options: (&'static str, &'static str),
    /// What of `broken` it has to report, and how that begins.
    finds: (&'static str, &'static str),
}

const THREAD: Sanitizer = Sanitizer {
    name: "thread",
    // Children of forks in processes with threads are what is tested; by itself the
    // sanitizer ends them.
    options: ("TSAN_OPTIONS", "die_after_fork=0"),
    finds: ("race", "WARNING: ThreadSanitizer: data race"),
};

const ADDRESS: Sanitizer = Sanitizer {
    name: "address",
    // Tests leak heaps and front ends on purpose: those are made for ever.
    options: ("ASAN_OPTIONS", "detect_leaks=0"),
    finds: ("freed", "ERROR: AddressSanitizer: heap-use-after-free"),
};

/// All of them: for each crate one, and first whether anything would be reported.
pub(super) fn stages() -> Vec<Stage> {
    [THREAD, ADDRESS].into_iter().flat_map(Sanitizer::stages).collect()
}

impl Sanitizer {
    fn stages(self) -> [Stage; 4] {
        let named = |what: &str| format!("{} sanitizer: {what}", self.name);
        [
            shown(&named("it reports what is broken"), move || self.check_controls()),
            shown(&named("core"), move || self.test(&["--package", "granule-core", "--lib"])),
            shown(&named("platform"), move || self.test(&["--package", "granule", "--lib"])),
            shown(&named("host tests"), move || {
                let files = HOST_TESTS.iter().flat_map(|file| ["--test", file]);
                let args: Vec<_> =
                    ["--package", "granule-host-tests"].into_iter().chain(files).collect();
                self.test(&args)
            }),
        ]
    }

    fn test(self, args: &[&str]) -> Result<()> {
        stream(self.cargo("test")?.arg("--no-fail-fast").args(args))
    }

    /// A program that breaks a rule is found out, and one that does not is not.
    fn check_controls(self) -> Result<()> {
        let (broken, report) = self.finds;
        let run = |argument: &str| {
            let example = ["--quiet", "--package", "granule-host-tests", "--example", "broken"];
            self.cargo("run")?.args(example).arg(argument).run()
        };
        let sound = run("sound")?;
        ensure!(sound.status.success(), "what is sound is reported: {}", sound.tail());
        let found = run(broken)?;
        let told = String::from_utf8_lossy(&found.stderr);
        ensure!(!found.status.success(), "`broken {broken}` ended well");
        ensure!(told.contains(report), "`broken {broken}` is not reported: {}", found.tail());
        Ok(())
    }

    /// The start of a call of cargo, all of them with one folder and one library.
    fn cargo(self, command: &str) -> Result<Job> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            let name = self.name;
            return Err(Skipped(format!("the {name} sanitizer runs on {TARGET} here")).into());
        }
        let cargo =
            setup::have_nightly(setup::NIGHTLY).map_err(|error| Skipped(format!("{error:#}")))?;
        let job = cargo.args([command, "-Zbuild-std", "--target", TARGET]);
        let flags = format!("-Zsanitizer={} --cfg granule_portable", self.name);
        let job = job.env("RUSTFLAGS", flags).env(self.options.0, self.options.1);
        let folder = workspace::target().join("sanitizers").join(self.name);
        let job = job.env("CARGO_TARGET_DIR", folder);
        // Tests unwind; the library would be built for aborts, too, and found twice.
        let job = job.env("CARGO_PROFILE_DEV_PANIC", "unwind");
        // Each access is a call, or a test: what is optimised away need not be made.
        let job = job.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        let job = job.env("PROPTEST_CASES", "8");
        let job = job.env_remove("RUSTUP_TOOLCHAIN").cwd(workspace::root());
        Ok(job.timeout(workspace::BUILD_TIMEOUT))
    }
}
