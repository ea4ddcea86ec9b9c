//! Which workloads there are. The patterns program owns the table; this asks.

use crate::process::Job;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// A workload on a number of threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Workload {
    /// Its name.
    pub(super) name: String,
    /// How many threads.
    pub(super) threads: String,
    /// What one operation is.
    pub(super) about: String,
}

/// All workloads of `program`, or those whose names contain one of `names`.
pub(super) fn choose(program: &Path, names: &[String]) -> Result<Vec<Workload>> {
    let listed = Job::new(program).arg("list").run_ok()?.text();
    let all: Vec<Workload> = listed.lines().map(parse).collect::<Result<_>>()?;
    let wanted = |workload: &&Workload| {
        names.is_empty() || names.iter().any(|name| workload.name.contains(name.as_str()))
    };
    let chosen: Vec<_> = all.iter().filter(wanted).cloned().collect();
    if chosen.is_empty() {
        let all: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
        bail!("no workload of that name; there are: {}", all.join(", "));
    }
    Ok(chosen)
}

/// Reads one line of the list.
fn parse(line: &str) -> Result<Workload> {
    let mut fields = line.split('\t').map(str::to_owned);
    let (name, threads, about) = (fields.next(), fields.next(), fields.next());
    let read = || Some(Workload { name: name?, threads: threads?, about: about? });
    read().with_context(|| format!("the list of workloads has a line we cannot read: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_three_fields() {
        let workload = parse("pair64\t2\ttaken and given back").expect("three fields");
        assert_eq!((&*workload.name, &*workload.threads), ("pair64", "2"));
        assert!(parse("pair64 2").is_err());
    }
}
