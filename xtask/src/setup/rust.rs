//! Rust components and the oldest supported compiler, by rustup.

use crate::process::{Finished, Job};
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// Time for one download.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Sees to it that the current toolchain has these components.
pub(super) fn ensure_components(components: &[&str]) -> Result<()> {
    let cargo = tools::cargo()?;
    let missing: Vec<_> = components
        .iter()
        .filter(|component| {
            // A component is a cargo command: `rustfmt` is `cargo fmt`.
            let command = component.trim_start_matches("rust");
            let asked = Job::new(&cargo).args([command, "--version"]).run_ok();
            asked.is_err()
        })
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    let rustup = tools::find("rustup")
        .with_context(|| format!("please install {names} for this Rust toolchain"))?;
    eprintln!("installing {names}");
    let job = Job::new(rustup).args(["component", "add"]).args(&missing).timeout(TIMEOUT);
    job.run_ok().with_context(|| format!("cannot install {names} by rustup"))?;
    Ok(())
}

/// How to call the oldest supported compiler's cargo, installed when missing.
///
/// Returns the program and its first arguments.
pub(crate) fn have_oldest_rust() -> Result<Job> {
    let version = workspace::oldest_rust();
    let Some(rustup) = tools::find("rustup") else {
        // Without rustup the compiler at hand serves, if it is that version.
        let cargo = tools::cargo()?;
        let said = Job::new(&cargo).arg("--version").run_ok()?.text();
        if said.split_whitespace().nth(1).is_some_and(|word| word.starts_with(version)) {
            return Ok(Job::new(cargo));
        }
        bail!("please install rustup, which brings Rust {version}, the oldest supported");
    };
    let call = Job::new(&rustup).args(["run", version, "cargo"]);
    if call.clone().arg("--version").run().is_ok_and(|done| done.status.success()) {
        return Ok(call);
    }
    eprintln!("installing Rust {version}");
    let install = ["toolchain", "install", version, "--profile", "minimal", "--no-self-update"];
    let done = Job::new(&rustup).args(install).timeout(TIMEOUT).run()?;
    if !done.status.success() {
        let reason = reason(&done);
        bail!(
            "Rust {version}, the oldest supported, is not here and rustup cannot get it ({reason})"
        );
    }
    Ok(call)
}

/// How to call nightly's cargo with these components, installed when missing.
/// For checks that only nightly has; nothing is built for use with it.
pub(crate) fn have_nightly(components: &[&str]) -> Result<Job> {
    let rustup = tools::find("rustup")
        .context("please install rustup, which brings the nightly toolchain")?;
    let listed = ["component", "list", "--toolchain", "nightly", "--installed"];
    let here = Job::new(&rustup).args(listed).run()?;
    let said = here.text();
    let has = |component: &&str| said.lines().any(|line| line.starts_with(*component));
    if !here.status.success() || !components.iter().all(has) {
        eprintln!("installing nightly with {}", components.join(", "));
        let install = ["toolchain", "install", "nightly", "--profile", "minimal"];
        let job = Job::new(&rustup).args(install).arg("--no-self-update");
        let job = components.iter().fold(job, |job, component| job.args(["-c", component]));
        let done = job.timeout(TIMEOUT).run()?;
        if !done.status.success() {
            let names = components.join(", ");
            bail!("no nightly toolchain with {names} here ({})", reason(&done));
        }
    }
    Ok(Job::new(rustup).args(["run", "nightly", "cargo"]))
}

/// Why rustup failed, in one line.
pub(super) fn reason(done: &Finished) -> String {
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let error = said.lines().find(|line| line.starts_with("error"));
    error.unwrap_or("no reason given").to_owned()
}
