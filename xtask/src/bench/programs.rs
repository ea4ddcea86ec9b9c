//! `cargo xtask bench instructions --programs`: what tiers of checks and sampled
//! guard pages cost real programs, in instructions of all the program does.
//!
//! Counted by cachegrind, the same caches of threads in each run: restartable
//! sequences do not run under valgrind. What instructions wait for, memory above
//! all, is not in the count. Clocks go on meanwhile, so purges, and with them counts, differ a
//! little from run to run.

use super::instructions::VALGRIND;
use crate::allocator::Allocator;
use crate::programs::{LUA, PERL, PYTHON_MALLOC, Program, SQLITE, Scale};
use crate::table::{Cell, Table, Tone, heading};
use crate::{Outcome, Verdict, setup};
use anyhow::{Context, Result};
use std::path::Path;

/// The programs: each in one process, and without threads.
const PROGRAMS: [&Program; 4] = [&SQLITE, &PERL, &LUA, &PYTHON_MALLOC];

/// A way to run them.
struct Way {
    name: &'static str,
    setting: (&'static str, &'static str),
    /// Instructions it may cost, in percent more than the first way.
    allowed: f64,
}

const fn way(name: &'static str, setting: (&'static str, &'static str), allowed: f64) -> Way {
    Way { name, setting, allowed }
}

/// All of them, against the first.
const WAYS: [Way; 4] = [
    way("none", ("GRANULE_CHECK", "none"), 0.0),
    way("basic", ("GRANULE_CHECK", "basic"), 1.0),
    way("sampled", ("GRANULE_SAMPLE", "on"), 1.0),
    way("moderate", ("GRANULE_CHECK", "moderate"), 10.0),
];

/// Counts them all, prints a table, and fails where a way costs more than it may.
pub(super) fn run() -> Outcome {
    setup::ensure(&[&VALGRIND])?;
    setup::ensure(&PROGRAMS.iter().flat_map(|program| program.needs).collect::<Vec<_>>())?;
    let mut table = Table::new(&["program", "millions", "basic", "sampled", "moderate"]);
    let mut all_good = true;
    for program in PROGRAMS {
        let mut counts = Vec::new();
        for way in &WAYS {
            eprintln!("{}: {}", program.name, way.name);
            counts.push(count(program, way)?);
        }
        let base = counts[0];
        let mut row = vec![Cell::new(program.name), Cell::new((base / 1_000_000).to_string())];
        for (way, &count) in WAYS.iter().zip(&counts).skip(1) {
            let more = percent_more(count, base);
            let good = more <= way.allowed;
            all_good &= good;
            row.push(Cell::toned(
                format!("{more:+.2} %"),
                if good { Tone::Good } else { Tone::Bad },
            ));
        }
        table.row(row);
    }
    heading("Instructions of whole programs, against the tier none");
    println!();
    table.print();
    println!("\n  allowed: basic and sampled guards 1 %, moderate 10 %.");
    Ok(Verdict::from_check(all_good))
}

/// All instructions of one run.
fn count(program: &Program, way: &Way) -> Result<u64> {
    let folder = tempfile::Builder::new().prefix("granule-").tempdir()?;
    let file = folder.path().join("counts");
    let (name, value) = way.setting;
    let under = Allocator::Granule.ready()?.with_setting(name, value).counted(&file);
    program.observe(&under, Scale::Demo)?;
    total(&file)
}

/// What cachegrind wrote.
fn total(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file).context("nothing was counted")?;
    summary(&text).context("no summary of counts")
}

/// The instructions of a file of counts.
fn summary(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("summary:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
fn percent_more(count: u64, base: u64) -> f64 {
    100.0 * (count as f64 / base as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_compared() {
        assert_eq!(summary("fl=a.c\n1 2\nsummary: 615608146\n"), Some(615_608_146));
        assert_eq!(summary("nothing"), None);
        assert!((percent_more(110, 100) - 10.0).abs() < 1e-9);
    }
}
