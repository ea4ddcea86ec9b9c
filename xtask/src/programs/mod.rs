//! The catalogue of everyday programs, shared by `demo` and `test`.
//!
//! An entry knows how to run one program on a given allocator, at two sizes,
//! and what of its output must not depend on the allocator. It judges what it
//! can by itself (exit codes, integrity checks) and fails with a reason.

mod cargo;
mod gcc;
mod git;
mod python;
mod python_tests;
mod redis;
mod ripgrep;
mod scripts;
mod sqlite;
mod start;

pub(crate) use gcc::GCC;
pub(crate) use git::GIT;
pub(crate) use python::{ALL_MALLOC as PYTHON_MALLOC, DEFAULT as PYTHON};
pub(crate) use redis::SERVER as REDIS;
pub(crate) use ripgrep::RIPGREP;
pub(crate) use scripts::{LUA, PERL};
pub(crate) use sqlite::SQLITE;
pub(crate) use start::START;

use crate::allocator::Preload;
use crate::process::{Cost, Job};
use crate::setup::Need;
use crate::tools;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One program and how to run it.
pub(crate) struct Program {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// What it does here, for a person.
    pub(crate) about: &'static str,
    /// What must be installed.
    pub(crate) needs: &'static [Need],
    /// The executable, and an argument with which it ends at once: so the
    /// loader can be asked where its `malloc` comes from.
    pub(crate) proof: (&'static str, &'static str),
    /// What makes a run good.
    pub(crate) judge: Judge,
    /// The limit on each process it starts.
    pub(crate) timeout: Duration,
    /// Runs it once.
    pub(crate) run: fn(&Stage<'_>) -> Result<Observed>,
}

/// What makes a run good, beside ending well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    /// The output equals that on glibc.
    SameOutput,
    /// Its own verdict: the program is a test suite, or checks itself.
    Itself,
}

/// How much work a run does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// About a second: it will run many times.
    Demo,
    /// As much as finds faults: it will run once.
    Test,
}

/// Where and how a program runs this time.
pub(crate) struct Stage<'a> {
    /// An empty folder of its own.
    pub(crate) dir: &'a Path,
    /// The allocator.
    pub(crate) under: &'a Preload,
    /// How much to do.
    pub(crate) scale: Scale,
    timeout: Duration,
}

/// What a run showed.
#[derive(Default)]
pub(crate) struct Observed {
    /// What it cost.
    pub(crate) cost: Cost,
    /// What must be the same on every allocator: a name and the bytes.
    pub(crate) output: Vec<(&'static str, Vec<u8>)>,
}

/// The programs of `cargo xtask demo`.
pub(crate) const DEMO: &[&Program] = &[
    &redis::SERVER,
    &python::DEFAULT,
    &python::ALL_MALLOC,
    &sqlite::SQLITE,
    &gcc::GCC,
    &git::GIT,
    &scripts::PERL,
    &START,
];

/// The programs of `cargo xtask test`.
pub(crate) const TEST: &[&Program] = &[
    &python::DEFAULT,
    &python::ALL_MALLOC,
    &python_tests::JSON,
    &python_tests::DICT,
    &python_tests::LIST,
    &python_tests::RE,
    &python_tests::THREADING,
    &python_tests::MULTIPROCESSING_FORK,
    &sqlite::SQLITE,
    &redis::SERVER,
    &redis::APPEND_ONLY,
    &git::GIT,
    &scripts::PERL,
    &scripts::LUA,
    &gcc::GCC,
    &ripgrep::RIPGREP,
    &cargo::CARGO,
];

impl Program {
    /// Proves that on `under` the allocator serves this very executable.
    pub(crate) fn prove(&self, under: &Preload) -> Result<()> {
        let (executable, argument) = self.proof;
        let executable = match executable {
            "cargo" => tools::cargo()?,
            name => tools::require(name)?,
        };
        under.prove(&executable, argument)
    }

    /// Runs it once in a fresh folder, which is removed afterwards.
    pub(crate) fn observe(&self, under: &Preload, scale: Scale) -> Result<Observed> {
        let dir = tempfile::Builder::new().prefix("granule-").tempdir()?;
        let stage = Stage { dir: dir.path(), under, scale, timeout: self.timeout };
        (self.run)(&stage).with_context(|| self.name)
    }
}

impl Stage<'_> {
    /// A job of the program `tool` on this stage's allocator, in its folder.
    pub(crate) fn job(&self, tool: &str) -> Result<Job> {
        Ok(self.under.through(self.under.apply(self.bystander(tool)?)))
    }

    /// A job in this stage's folder that runs on whatever it is linked to.
    pub(crate) fn bystander(&self, tool: &str) -> Result<Job> {
        let job = Job::new(tools::require(tool)?).cwd(self.dir).timeout(self.timeout);
        // No locale, no home: the output must not depend on who runs it.
        Ok(job.env_remove("LD_PRELOAD").env("LC_ALL", "C.UTF-8").env("HOME", self.dir))
    }

    /// Writes a file into this stage's folder.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let file = self.dir.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, text)?;
        Ok(file)
    }

    /// `demo` or `test`, by this stage's scale.
    pub(crate) fn scaled<T>(&self, demo: T, test: T) -> T {
        match self.scale {
            Scale::Demo => demo,
            Scale::Test => test,
        }
    }
}

impl Observed {
    /// A run of which standard output is what matters.
    fn stdout(finished: crate::process::Finished) -> Observed {
        Observed { cost: finished.cost, output: vec![("standard output", finished.stdout)] }
    }

    /// Fails, saying where, unless the outputs are the same.
    pub(crate) fn require_same(&self, reference: &Observed) -> Result<()> {
        if self.output.len() != reference.output.len() {
            bail!("not the same outputs as on glibc");
        }
        for ((name, ours), (_, theirs)) in self.output.iter().zip(&reference.output) {
            if ours != theirs {
                let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
                let (our, their) = (ours.len(), theirs.len());
                bail!("{name} differs from glibc's at byte {at} ({our} bytes against {their})");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn showing(text: &str) -> Observed {
        Observed { cost: Cost::default(), output: vec![("text", text.into())] }
    }

    #[test]
    fn a_difference_is_found_and_placed() {
        assert!(showing("same").require_same(&showing("same")).is_ok());
        let error = showing("samE").require_same(&showing("same")).expect_err("differs");
        assert!(error.to_string().contains("at byte 3"), "{error}");
        assert!(showing("longer").require_same(&showing("long")).is_err());
        assert!(showing("").require_same(&Observed::default()).is_err());
    }
}
