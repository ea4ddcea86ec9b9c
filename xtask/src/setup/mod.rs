//! What each command needs from the system, and how it gets there.
//!
//! A need is first probed: a probe only looks at files, so a machine that has
//! everything loses no time and no network is touched. What is missing is
//! installed where we may (root on a Debian), and named in one line elsewhere.

mod bare;
mod debian;
mod needs;
mod rust;

pub(crate) use bare::{BareCargo, bare_cargo, have_target};
pub(crate) use needs::{
    GCC, GIT, LUA, Need, PERL, PYTHON, PYTHON_TESTS, QEMU_AARCH64, QEMU_RISCV64, QEMU_X86_64,
    REDIS, RIPGREP, SQLITE,
};
pub(crate) use rust::{have_nightly, have_oldest_rust};

use crate::qemu::Machine;
use crate::{Outcome, Verdict, bench, programs};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// Options of `cargo xtask setup`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which commands to set up for; all of them when none is named
    commands: Vec<For>,
}

/// A command to set up for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum For {
    /// `cargo xtask demo`
    Demo,
    /// `cargo xtask test`
    Test,
    /// `cargo xtask bench`
    Bench,
    /// `cargo xtask qemu`
    Qemu,
    /// The checks of `.ci/run` around `cargo xtask test`
    Lint,
}

/// Runs `cargo xtask setup`.
pub(crate) fn run(options: &Options) -> Outcome {
    let wanted = |command| options.commands.is_empty() || options.commands.contains(&command);
    let mut needs: Vec<&Need> = Vec::new();
    if wanted(For::Demo) {
        needs.extend(programs::DEMO.iter().flat_map(|program| program.needs));
    }
    if wanted(For::Test) {
        needs.extend(programs::TEST.iter().flat_map(|program| program.needs));
        needs.push(&QEMU_X86_64);
    }
    if wanted(For::Bench) {
        needs.extend(bench::needs());
    }
    let kernels = wanted(For::Qemu) || wanted(For::Test) || wanted(For::Demo);
    if kernels {
        needs.extend(Machine::ALL.map(Machine::needs));
    }
    ensure(&needs)?;
    if kernels {
        for triple in Machine::ALL.map(Machine::triple).into_iter().chain([TUTORIAL_TRIPLE]) {
            // The commands that boot it tell again.
            if let Err(error) = bare_cargo(triple) {
                eprintln!("{error:#}");
            }
        }
    }
    if wanted(For::Lint) {
        rust::ensure_components(&["rustfmt", "clippy"])?;
    }
    if wanted(For::Test) {
        // `cargo xtask test` tells again, and goes without.
        if let Err(error) = have_oldest_rust() {
            eprintln!("{error:#}");
        }
        if let Err(error) = have_nightly(NIGHTLY) {
            eprintln!("{error:#}");
        }
    }
    println!("everything that is needed is here");
    Ok(Verdict::Good)
}

/// What checks need of nightly: an interpreter, and the library's source for it
/// and for sanitizers.
pub(crate) const NIGHTLY: &[&str] = &["miri", "rust-src"];

/// What the kernel of the tutorials' design is built for.
pub(crate) const TUTORIAL_TRIPLE: &str = "x86_64-unknown-none";

/// Sees to it that every need is met, installing what is missing.
pub(crate) fn ensure(needs: &[&Need]) -> Result<()> {
    let missing = missing(needs)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !debian::may_install() {
        bail!("please install {} (Debian's names), then run this again", missing.join(", "));
    }
    // In rounds: a need can have a name that only an earlier one can tell
    // (Python's tests are named after the version of Python).
    let mut last = Vec::new();
    let mut missing = missing;
    while !missing.is_empty() && missing != last {
        debian::install(&missing)?;
        last = missing;
        missing = self::missing(needs)?;
    }
    if !missing.is_empty() {
        bail!("installed {}, yet it is not where it should be", missing.join(", "));
    }
    Ok(())
}

/// The packages of all unmet needs, each once.
fn missing(needs: &[&Need]) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for need in needs {
        if !need.met() {
            packages.extend(need.packages()?);
        }
    }
    packages.sort();
    packages.dedup();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmet_need_names_its_packages_once() {
        const ABSENT: Need = Need::program("no-such-program", &["some-package"]);
        let packages = missing(&[&ABSENT, &ABSENT]).expect("names are known");
        assert_eq!(packages, ["some-package"]);
    }

    #[test]
    fn a_met_need_asks_for_nothing() {
        const SHELL: Need = Need::program("sh", &["dash"]);
        assert!(missing(&[&SHELL]).expect("names are known").is_empty());
    }
}
