//! The table of needs.

use crate::process::Job;
use crate::tools;
use anyhow::{Context, Result};
use std::path::Path;

/// Something the system must have.
pub(crate) struct Need {
    probe: Probe,
    packages: Packages,
}

/// How to see that it is there.
enum Probe {
    /// A program of this name can be found.
    Program(&'static str),
    /// The same, or there is this file.
    ProgramOrFile(&'static str, &'static str),
    /// A shared library of this file name can be found.
    Library(&'static str),
    /// The system's Python can import this module.
    PythonModule(&'static str),
}

/// Which Debian packages bring it.
enum Packages {
    /// These.
    Named(&'static [&'static str]),
    /// The one that holds the tests of the system's Python.
    PythonTests,
}

impl Need {
    /// A program, and the packages that bring it.
    pub(crate) const fn program(name: &'static str, packages: &'static [&'static str]) -> Need {
        Need { probe: Probe::Program(name), packages: Packages::Named(packages) }
    }

    /// A program that may lie in no folder of programs, but at `file`.
    pub(crate) const fn program_or_file(
        name: &'static str,
        file: &'static str,
        packages: &'static [&'static str],
    ) -> Need {
        Need { probe: Probe::ProgramOrFile(name, file), packages: Packages::Named(packages) }
    }

    /// A shared library, and the package that brings it.
    pub(crate) const fn library(file: &'static str, packages: &'static [&'static str]) -> Need {
        Need { probe: Probe::Library(file), packages: Packages::Named(packages) }
    }

    /// Whether it is there.
    pub(super) fn met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => tools::find(name).is_some(),
            Probe::ProgramOrFile(name, file) => {
                tools::find(name).is_some() || Path::new(file).is_file()
            }
            Probe::Library(file) => tools::find_library(file).is_some(),
            Probe::PythonModule(module) => python(&format!("import {module}")).is_ok(),
        }
    }

    /// The packages to install. For Python's tests they are known once Python
    /// is here; before that, Python itself is what is missing.
    pub(super) fn packages(&self) -> Result<Vec<String>> {
        match self.packages {
            Packages::Named(names) => Ok(names.iter().map(|name| (*name).to_owned()).collect()),
            Packages::PythonTests if tools::find("python3").is_none() => {
                Ok(vec!["python3".to_owned()])
            }
            Packages::PythonTests => {
                let version = python("import sys; print('%d.%d' % sys.version_info[:2])")?;
                Ok(vec![format!("libpython{}-testsuite", version.trim())])
            }
        }
    }
}

/// Runs one line of the system's Python.
fn python(line: &str) -> Result<String> {
    let python = tools::require("python3")?;
    let done = Job::new(python).args(["-c", line]).run_ok();
    Ok(done.context("the system's python3")?.text())
}

/// The interpreter.
pub(crate) const PYTHON: Need = Need::program("python3", &["python3"]);
/// The interpreter's own tests.
pub(crate) const PYTHON_TESTS: Need =
    Need { probe: Probe::PythonModule("test.test_json"), packages: Packages::PythonTests };
/// The database server and its load generator.
pub(crate) const REDIS: Need = Need::program("redis-server", &["redis-server", "redis-tools"]);
/// The command line of SQLite.
pub(crate) const SQLITE: Need = Need::program("sqlite3", &["sqlite3"]);
/// The C compiler and what a program needs to link.
pub(crate) const GCC: Need = Need::program("gcc", &["gcc", "libc6-dev"]);
/// The version control system.
pub(crate) const GIT: Need = Need::program("git", &["git"]);
/// The interpreter.
pub(crate) const PERL: Need = Need::program("perl", &["perl"]);
/// The interpreter.
pub(crate) const LUA: Need = Need::program("lua5.4", &["lua5.4"]);
/// The multi-threaded searcher, written in Rust.
pub(crate) const RIPGREP: Need = Need::program("rg", &["ripgrep"]);
/// The machines of RISC-V.
pub(crate) const QEMU_RISCV64: Need = Need::program("qemu-system-riscv64", &["qemu-system-misc"]);
/// The machines of the PC.
pub(crate) const QEMU_X86_64: Need = Need::program("qemu-system-x86_64", &["qemu-system-x86"]);
/// The machines of 64-bit ARM.
pub(crate) const QEMU_AARCH64: Need = Need::program("qemu-system-aarch64", &["qemu-system-arm"]);
