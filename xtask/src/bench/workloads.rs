//! What is run: patterns, of which the patterns program owns the table, and
//! everyday programs, of which the catalogue does.

use crate::process::Job;
use crate::programs::{self, Program};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// A workload on a number of threads.
#[derive(Clone)]
pub(super) struct Workload {
    /// Its name.
    pub(super) name: String,
    /// What one operation is.
    pub(super) about: String,
    /// How to run it.
    pub(super) kind: Kind,
}

/// How to run a workload.
#[derive(Clone)]
pub(super) enum Kind {
    /// A pattern on so many threads.
    Pattern(usize),
    /// A program of the catalogue.
    Program(&'static Program),
}

/// Real programs whose allocations weigh.
const PROGRAMS: [&Program; 9] = [
    &programs::REDIS,
    &programs::PYTHON,
    &programs::PYTHON_MALLOC,
    &programs::SQLITE,
    &programs::GCC,
    &programs::LUA,
    &programs::PERL,
    &programs::GIT,
    &programs::RIPGREP,
];

/// Threads of the patterns of a quick run.
const QUICK: [usize; 3] = [1, 2, 16];

/// Patterns of the table through Rust's door: what it changes is the fast
/// path, which knows the size of what it frees.
const RUST: [&str; 10] = [
    "hot16",
    "hot64",
    "hot512",
    "hot32k",
    "lifo",
    "random",
    "churn-small",
    "churn-server",
    "burst",
    "handoff",
];

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything.
    Full,
    /// No more threads than 16.
    Quick,
    /// Small objects, and no programs: those run on `malloc`.
    Rust,
}

/// What the real programs need of the system.
pub(super) fn needs() -> impl Iterator<Item = &'static crate::setup::Need> {
    PROGRAMS.iter().flat_map(|program| program.needs)
}

/// All workloads, or those whose names contain one of `names`.
pub(super) fn choose(program: &Path, names: &[String], extent: Extent) -> Result<Vec<Workload>> {
    let mut all = patterns(program)?;
    all.extend(PROGRAMS.map(|program| Workload {
        name: program.name.to_owned(),
        about: program.about.to_owned(),
        kind: Kind::Program(program),
    }));
    let named = |workload: &Workload| {
        names.is_empty() || names.iter().any(|name| workload.title().contains(name.as_str()))
    };
    let within = |workload: &Workload| match (extent, &workload.kind) {
        (Extent::Full, _) | (Extent::Quick, Kind::Program(_)) => true,
        (Extent::Quick, Kind::Pattern(threads)) => QUICK.contains(threads),
        (Extent::Rust, Kind::Pattern(threads)) => {
            QUICK.contains(threads) && RUST.contains(&workload.name.as_str())
        }
        (Extent::Rust, Kind::Program(_)) => false,
    };
    let chosen: Vec<_> = all.iter().filter(|one| named(one) && within(one)).cloned().collect();
    if chosen.is_empty() {
        let mut all: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
        all.dedup();
        bail!("no workload of that name; there are: {}", all.join(", "));
    }
    Ok(chosen)
}

/// The patterns of `program`.
pub(super) fn patterns(program: &Path) -> Result<Vec<Workload>> {
    Job::new(program).arg("list").run_ok()?.text().lines().map(parse).collect()
}

/// Reads one line of the list.
fn parse(line: &str) -> Result<Workload> {
    let mut fields = line.split('\t').map(str::to_owned);
    let (name, threads, about) = (fields.next(), fields.next(), fields.next());
    let read = || {
        let kind = Kind::Pattern(threads?.parse().ok()?);
        Some(Workload { name: name?, about: about?, kind })
    };
    read().with_context(|| format!("the list of workloads has a line we cannot read: {line}"))
}

impl Workload {
    /// Its name and its threads.
    pub(super) fn title(&self) -> String {
        match self.kind {
            Kind::Pattern(threads) => format!("{} x{threads}", self.name),
            Kind::Program(_) => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_three_fields() {
        let workload = parse("hot64\t2\ttaken and given back").expect("three fields");
        assert_eq!(workload.title(), "hot64 x2");
        assert!(parse("hot64 2").is_err());
        assert!(parse("hot64\ttwo\ttaken").is_err());
    }
}
