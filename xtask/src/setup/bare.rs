//! Cargo for machines without an operating system.
//!
//! ```text
//! what is here:  the target, else Debian's Rust and its sources
//! what can come: the target by rustup, else Debian's Rust and its sources
//! neither:       one line says what is missing
//! ```
//! Distributions ship no bare targets, but the sources of the core library:
//! enough for a kernel, which asks for nothing above it.

use super::debian;
use crate::process::Job;
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time for one download.
const TIMEOUT: Duration = Duration::from_secs(600);

/// What Debian's Rust consists of, and the packages that bring it.
const DEBIAN_FILES: [(&str, &str); 4] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src"),
    ("/usr/bin/ld.lld-19", "lld-19"),
];

/// A cargo that can build for one bare target.
#[derive(Clone, Debug)]
pub(crate) struct BareCargo {
    triple: &'static str,
    rust: Rust,
}

/// Whose Rust it is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rust {
    /// The one that runs us, at this path.
    Ours(PathBuf),
    /// Debian's.
    Debian,
}

/// A cargo that can build for `triple`; installs what is missing.
pub(crate) fn bare_cargo(triple: &'static str) -> Result<BareCargo> {
    let cargo = tools::cargo()?;
    let ours = || Ok(BareCargo { triple, rust: Rust::Ours(cargo.clone()) });
    if has_target(&cargo, triple) {
        return ours();
    }
    if missing(exists).is_empty() && debian_rust().is_ok() {
        // Before rustup is asked, or a machine where it can get nothing would
        // ask the network each time.
        return Ok(BareCargo { triple, rust: Rust::Debian });
    }
    let why = match add_target(triple) {
        Ok(()) if has_target(&cargo, triple) => return ours(),
        Ok(()) => "rustup added it to another toolchain than this one".to_owned(),
        Err(why) => format!("{why:#}"),
    };
    debian_rust().with_context(|| {
        format!("please install the Rust target {triple}: this toolchain lacks it ({why})")
    })?;
    Ok(BareCargo { triple, rust: Rust::Debian })
}

/// Sees to it that the toolchain that runs us can build for `triple`, all of
/// the standard library included.
pub(crate) fn have_target(triple: &str) -> Result<()> {
    let cargo = tools::cargo()?;
    if has_target(&cargo, triple) {
        return Ok(());
    }
    match add_target(triple) {
        Ok(()) if has_target(&cargo, triple) => Ok(()),
        Ok(()) => bail!("rustup added the Rust target {triple} to another toolchain"),
        Err(why) => bail!("this toolchain lacks the Rust target {triple} ({why:#})"),
    }
}

/// Whether the toolchain of `cargo` has a core library for `triple`.
fn has_target(cargo: &Path, triple: &str) -> bool {
    // The compiler beside it; a proxy's folder has a proxy, which is as good.
    let rustc = cargo.with_file_name("rustc");
    let asked = Job::new(rustc).args(["--print", "target-libdir", "--target", triple]).run_ok();
    let Ok(said) = asked else { return false };
    let Ok(mut files) = std::fs::read_dir(said.text().trim()) else { return false };
    files.any(|file| {
        file.is_ok_and(|file| file.file_name().as_encoded_bytes().starts_with(b"libcore-"))
    })
}

/// Lets rustup add `triple` to the toolchain that runs us.
fn add_target(triple: &str) -> Result<()> {
    let rustup = tools::find("rustup").context("and there is no rustup to add it")?;
    eprintln!("installing the Rust target {triple}");
    let done = Job::new(rustup).args(["target", "add", triple]).timeout(TIMEOUT).run()?;
    if !done.status.success() {
        bail!("rustup: {}", super::rust::reason(&done));
    }
    Ok(())
}

/// Sees to it that Debian's Rust is here, with its sources, and new enough.
fn debian_rust() -> Result<()> {
    let missing = missing(exists);
    if !missing.is_empty() {
        if !debian::may_install() {
            bail!("Debian's {} would do, too", missing.join(", "));
        }
        debian::install(&missing)?;
    }
    let oldest = workspace::oldest_rust();
    let said = Job::new(DEBIAN_FILES[0].0).arg("--version").run_ok()?.text();
    if !at_least(&said, oldest) {
        bail!("Debian's Rust is older than {oldest}: {}", said.trim());
    }
    Ok(())
}

fn exists(file: &str) -> bool {
    Path::new(file).exists()
}

/// The packages of Debian's Rust whose files are not there.
fn missing(there: impl Fn(&str) -> bool) -> Vec<String> {
    let missing = DEBIAN_FILES.iter().filter(|(file, _)| !there(file));
    missing.map(|(_, package)| (*package).to_owned()).collect()
}

/// Whether what `rustc --version` said names `oldest` or a later version.
fn at_least(said: &str, oldest: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> {
        let release = version.split('-').next().unwrap_or_default();
        release.split('.').map_while(|part| part.parse().ok()).collect()
    };
    said.split_whitespace().nth(1).is_some_and(|version| numbers(version) >= numbers(oldest))
}

impl BareCargo {
    /// The job `cargo COMMAND ARGS` for this target, in the workspace.
    pub(crate) fn job(&self, command: &str, args: &[&str]) -> Job {
        let (program, flags, env) = match &self.rust {
            Rust::Ours(cargo) => (cargo.clone(), &[][..], Vec::new()),
            Rust::Debian => (DEBIAN_FILES[1].0.into(), FROM_SOURCES, self.debian_env()),
        };
        let mut job = Job::new(program).arg(command).args(["--target", self.triple]);
        job = job.args(flags).args(args).cwd(workspace::root());
        for (key, value) in env {
            job = job.env(&key, value);
        }
        if self.rust == Rust::Debian {
            // Ours would hand its own toolchain down to Debian's.
            job = job.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH");
        }
        job.timeout(workspace::BUILD_TIMEOUT)
    }

    /// Where it puts what it builds in `profile`.
    pub(crate) fn output(&self, profile: &str) -> PathBuf {
        self.folder().join(self.triple).join(profile)
    }

    /// A folder of its own for Debian's, or each would undo the other's work.
    fn folder(&self) -> PathBuf {
        match self.rust {
            Rust::Ours(_) => workspace::target(),
            Rust::Debian => workspace::target().join("debian"),
        }
    }

    fn debian_env(&self) -> Vec<(String, PathBuf)> {
        let target = self.triple.to_uppercase().replace('-', "_");
        vec![
            ("RUSTC".into(), DEBIAN_FILES[0].0.into()),
            // Building the core library is no stable feature of cargo.
            ("RUSTC_BOOTSTRAP".into(), "1".into()),
            ("CARGO_TARGET_DIR".into(), self.folder()),
            // Debian's Rust comes without the linker of the bare targets.
            (format!("CARGO_TARGET_{target}_LINKER"), DEBIAN_FILES[3].0.into()),
        ]
    }
}

/// Builds the core library, too, with the functions that compilers call.
const FROM_SOURCES: &[&str] =
    &["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert!(missing(|_| true).is_empty());
        let without_linker = missing(|file| !file.contains("lld"));
        assert_eq!(without_linker, ["lld-19"]);
        let bare = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
        assert_eq!(missing(|_| false), bare);
    }

    #[test]
    fn versions_are_numbers_not_words() {
        assert!(at_least("rustc 1.96.0 (abc 2026-01-01) (built from a source tarball)", "1.88"));
        assert!(at_least("rustc 1.88.0", "1.88") && at_least("rustc 1.100.0-nightly", "1.88"));
        assert!(!at_least("rustc 1.85.0 (4d91de4e4 2025-02-17)", "1.88"));
        assert!(!at_least("rustc", "1.88"));
    }

    #[test]
    fn a_target_that_cannot_exist_is_not_there() {
        let cargo = tools::cargo().expect("cargo runs this test");
        assert!(!has_target(&cargo, "no-such-target"));
    }

    #[test]
    fn debians_rust_links_with_debians_linker_in_a_folder_of_its_own() {
        let triple = "riscv64gc-unknown-none-elf";
        let debian = BareCargo { triple, rust: Rust::Debian };
        let env = debian.debian_env();
        let linker = "CARGO_TARGET_RISCV64GC_UNKNOWN_NONE_ELF_LINKER";
        assert!(env.contains(&(linker.into(), "/usr/bin/ld.lld-19".into())), "{env:?}");
        let ours = BareCargo { triple, rust: Rust::Ours("cargo".into()) };
        assert_ne!(debian.output("release"), ours.output("release"));
        assert!(ours.output("release").ends_with("riscv64gc-unknown-none-elf/release"));
    }
}
