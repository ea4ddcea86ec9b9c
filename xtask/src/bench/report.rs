//! The tables of a benchmark: each figure of each run against the best peer,
//! the geometric means, and where granule does worst.

use super::Run;
use super::peers::{OURS, is_ours};
use super::samples::{FIGURES, Figure, mean, worst};
use crate::figures::elapsed;
use crate::table::{Cell, Table, Tone, heading};
use std::time::Duration;

/// So many of the worst runs are listed.
const WORST: usize = 10;

/// Prints all tables.
pub(super) fn print(run: &Run, took: Duration) {
    for figure in &FIGURES {
        if run.measured.iter().any(|one| one.best_peer(figure).is_some()) {
            heading(&format!("{}: ratios to the best peer of each run", figure.title));
            println!();
            by_run(run, figure).print();
        }
    }
    heading(&format!("Geometric means of these ratios, medians of {} rounds", run.rounds));
    println!();
    means(run).print();
    for figure in [&FIGURES[0], &FIGURES[2]] {
        heading(&format!("{OURS} at its worst: {}", figure.short));
        println!();
        worst_runs(run, figure).print();
    }
    about(run, took);
}

/// A row a run: the best peer and what it took, then everybody's ratio.
fn by_run(run: &Run, figure: &Figure) -> Table {
    let mut heads = vec!["run", "best peer", "", "+-"];
    heads.extend(run.allocators.iter().map(|(name, _)| *name));
    let mut table = Table::new(&heads);
    for one in &run.measured {
        let Some((name, best)) = one.best_peer(figure) else { continue };
        let spread = one.on.iter().map(|on| on.spread(figure)).fold(0.0, f64::max);
        let mut cells = vec![
            Cell::new(one.workload.clone()),
            Cell::toned(name, Tone::Faint),
            Cell::toned((figure.text)(best), Tone::Faint),
            Cell::toned(format!("{:.0}%", spread * 100.0), Tone::Faint),
        ];
        cells.extend((0..one.on.len()).map(|at| match one.ratio(at, figure) {
            Some(ratio) => Cell::ratio(ratio),
            None if one.on[at].failure.is_some() => Cell::toned("failed", Tone::Bad),
            None => Cell::toned("-", Tone::Faint),
        }));
        table.row(cells);
    }
    table
}

/// A row an allocator: its mean in each figure, and the range over rounds.
fn means(run: &Run) -> Table {
    let mut heads = vec!["allocator", "runs"];
    for figure in &FIGURES {
        heads.extend([figure.short, "rounds"]);
    }
    let mut table = Table::new(&heads);
    for (at, (name, _)) in run.allocators.iter().enumerate() {
        let tone = if is_ours(name) { Tone::Strong } else { Tone::Plain };
        let runs = mean(&run.measured, at, &FIGURES[0]).map_or(0, |mean| mean.runs);
        let mut cells = vec![Cell::toned(*name, tone), Cell::new(runs.to_string())];
        for figure in &FIGURES {
            match mean(&run.measured, at, figure) {
                Some(mean) => cells.extend([
                    Cell::ratio(mean.mean),
                    Cell::toned(format!("{:.2}-{:.2}", mean.range.0, mean.range.1), Tone::Faint),
                ]),
                None => cells.extend([Cell::toned("-", Tone::Faint), Cell::new("")]),
            }
        }
        table.row(cells);
        let last_of_ours =
            is_ours(name) && run.allocators.get(at + 1).is_some_and(|(next, _)| !is_ours(next));
        if last_of_ours {
            table.rule();
        }
    }
    table
}

/// The runs to work on first.
fn worst_runs(run: &Run, figure: &Figure) -> Table {
    let mut table = Table::new(&["run", "ratio", "granule", "best peer", ""]);
    for (at, ratio) in worst(&run.measured, figure).into_iter().take(WORST) {
        let one = &run.measured[at];
        let ours = one.on.iter().find(|on| on.allocator == OURS).and_then(|on| on.median(figure));
        let (Some(ours), Some((name, best))) = (ours, one.best_peer(figure)) else { continue };
        table.row(vec![
            Cell::new(one.workload.clone()),
            Cell::ratio(ratio),
            Cell::new((figure.text)(ours)),
            Cell::new((figure.text)(best)),
            Cell::new(name),
        ]);
    }
    table
}

/// What was run on what, and what was not.
fn about(run: &Run, took: Duration) {
    println!();
    let mut last = "";
    for one in &run.measured {
        let name = one.workload.split(" x").next().unwrap_or_default();
        if name != last {
            println!("  {name:<21} {}", one.about);
            last = name;
        }
    }
    println!();
    for (name, origin) in &run.allocators {
        println!("  {name:<21} {origin}");
    }
    for (name, why) in &run.skipped {
        println!("  {name:<21} SKIPPED: {why}");
    }
    println!("\n  {} allocators ran, {} skipped.", run.allocators.len(), run.skipped.len());
    if let Some(why) = &run.calls_not_counted {
        println!("  System calls not counted: {why}.");
    }
    println!("  {}. Transparent huge pages: {}.", run.machine, run.huge_pages);
    println!("  Each ratio is to the best peer of that run, granule not among the peers: below 1");
    println!("  is better than all of them. +- is the largest distance between the quartiles of");
    println!("  an allocator, in parts of its median; \"rounds\" is the range of the mean over");
    println!("  single rounds. {} in all.", elapsed(took));
    for one in &run.measured {
        for on in &one.on {
            if let Some(failure) = &on.failure {
                println!("\nFAILED {} on {}: {}", one.workload, on.allocator, failure.0);
            }
        }
    }
}
