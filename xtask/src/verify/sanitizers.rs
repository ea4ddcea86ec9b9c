//! The tests of core and platform under the compiler's sanitizers, with the
//! standard library built anew so that it is watched, too.

use crate::test::workspace_tests::{shown, stream};
use crate::test::{Skipped, Stage};
use crate::{setup, workspace};
use anyhow::Result;

/// What they are built for: sanitizers are a matter of the target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// All of them.
pub(super) fn stages() -> Vec<Stage> {
    let of = |name: &'static str| shown(&format!("{name} sanitizer"), move || check(name));
    vec![of("thread"), of("address")]
}

fn check(sanitizer: &str) -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err(Skipped(format!("the {sanitizer} sanitizer runs on {TARGET} here")).into());
    }
    let cargo =
        setup::have_nightly(setup::NIGHTLY).map_err(|error| Skipped(format!("{error:#}")))?;
    let job = cargo.args(["test", "-Zbuild-std", "--target", TARGET, "--lib"]);
    let job = job.args(["--package", "granule-core"]);
    let job = job.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    let job = job.env("CARGO_TARGET_DIR", workspace::target().join("sanitizers").join(sanitizer));
    // Tests unwind; the library would be built for aborts, too, and found twice.
    let job = job.env("CARGO_PROFILE_DEV_PANIC", "unwind");
    let job = job.env_remove("RUSTUP_TOOLCHAIN").cwd(workspace::root());
    stream(job.timeout(workspace::BUILD_TIMEOUT))
}
