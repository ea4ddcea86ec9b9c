//! The stage of the heap without assembly, which is also that of macOS's threads and
//! front end: this is the only place where they run.

use super::Stage;
use super::workspace_tests::{shown, stream};
use crate::workspace;

/// The host tests that run on any system, and that of `fork`.
const TESTS: [&str; 10] = [
    "--test",
    "threads",
    "--test",
    "global_allocator",
    "--test",
    "differential",
    "--test",
    "fork_heaps",
    "--test",
    "scoped",
];

/// Threads by keys, as on macOS.
const FLAGS: &str = "-D warnings --cfg granule_portable --cfg granule_portable=\"keys\"";

/// The stage.
pub(super) fn stage() -> Stage {
    shown("portable: the process's heap without assembly", || {
        let test = |args: [&str; 4]| {
            let job = workspace::cargo(["test"])?.args(args);
            // A folder of its own, or each build would undo the other's work.
            let job = job.env("CARGO_TARGET_DIR", workspace::target().join("portable"));
            Ok::<_, anyhow::Error>(job.env("RUSTFLAGS", FLAGS))
        };
        stream(test(["--package", "granule", "--lib", "linux"])?)?;
        stream(test(["--package", "granule-host-tests", "--no-fail-fast", "--quiet"])?.args(TESTS))
    })
}
