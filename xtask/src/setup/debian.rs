//! Installing Debian packages.

use crate::process::Job;
use crate::tools;
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// A slow mirror must fit, a dead one must end.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Whether we are root on a system with `apt-get`.
pub(super) fn may_install() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    root && tools::find("apt-get").is_some()
}

/// Installs packages, after a look at the newest lists.
pub(super) fn install(packages: &[String]) -> Result<()> {
    eprintln!("installing {}", packages.join(", "));
    apt_get(&["update"]).context("apt-get update")?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages.iter().map(String::as_str));
    if let Err(error) = apt_get(&args) {
        bail!("cannot install {}: {error:#}", packages.join(", "));
    }
    Ok(())
}

/// Runs apt-get without questions, and without starting services: the tests
/// start their own servers.
fn apt_get(args: &[&str]) -> Result<()> {
    let job = Job::new(tools::require("apt-get")?).arg("--quiet").args(args);
    job.env("DEBIAN_FRONTEND", "noninteractive")
        // invoke-rc.d starts nothing in run level 1.
        .env("RUNLEVEL", "1")
        .timeout(TIMEOUT)
        .run_ok()?;
    Ok(())
}
