//! The tables of a benchmark: time, then processor time and memory.

use super::runner::{Measured, Samples};
use crate::figures::{geometric_mean, mebibytes, median, ratio, seconds, spread, three_digits};
use crate::table::{Cell, Table, Tone, heading};

/// A figure of the samples, and how to write its median.
struct Figure {
    title: &'static str,
    of: fn(&Samples) -> &[f64],
    text: fn(f64) -> String,
}

/// What is reported, in this order.
const FIGURES: [Figure; 3] = [
    Figure {
        title: "Nanoseconds per operation",
        of: |samples| &samples.nanoseconds,
        text: three_digits,
    },
    Figure {
        title: "Processor time of the process",
        of: |samples| &samples.cpu_seconds,
        text: seconds,
    },
    Figure { title: "Peak resident memory", of: |samples| &samples.peak_kib, text: mebibytes },
];

/// Prints all tables.
pub(super) fn print(measured: &[Measured], rounds: usize) {
    for figure in &FIGURES {
        heading(&format!("{}, median of {rounds} rounds", figure.title));
        println!();
        table(measured, figure).print();
    }
    println!();
    let mut last = "";
    for one in measured {
        if one.workload != last {
            println!("  {:<12} {}", one.workload, one.about);
            last = &one.workload;
        }
    }
    println!("\n  Ratios are to glibc: below 1 is better. +- is (largest - smallest) / median.");
}

/// The table of one figure.
fn table(measured: &[Measured], figure: &Figure) -> Table {
    let names: Vec<&str> = measured
        .first()
        .map(|one| one.on.iter().map(|on| on.allocator).collect())
        .unwrap_or_default();
    let mut heads = vec!["workload"];
    for (at, name) in names.iter().enumerate() {
        heads.push(name);
        heads.push("+-");
        if at > 0 {
            heads.push("ratio");
        }
    }
    let mut table = Table::new(&heads);
    for one in measured {
        table.row(row(one, figure));
    }
    table.rule();
    let mut means = vec![Cell::toned("geometric mean", Tone::Strong)];
    for at in 0..names.len() {
        means.extend([Cell::new(""), Cell::new("")]);
        if at > 0 {
            let ratios: Vec<f64> =
                measured.iter().map(|one| to_baseline(one, at, figure)).collect();
            means.push(Cell::ratio(geometric_mean(&ratios)));
        }
    }
    table.row(means);
    table
}

/// The row of one workload.
fn row(one: &Measured, figure: &Figure) -> Vec<Cell> {
    let mut cells = vec![Cell::new(one.title())];
    for (at, samples) in one.on.iter().enumerate() {
        let values = (figure.of)(samples);
        cells.push(Cell::new((figure.text)(median(values))));
        cells.push(Cell::toned(format!("{:.0}%", spread(values) * 100.0), Tone::Faint));
        if at > 0 {
            cells.push(Cell::ratio(to_baseline(one, at, figure)));
        }
    }
    cells
}

/// The median on the allocator at `at`, to that on the first.
fn to_baseline(one: &Measured, at: usize, figure: &Figure) -> f64 {
    ratio(median((figure.of)(&one.on[at])), median((figure.of)(&one.on[0])))
}
