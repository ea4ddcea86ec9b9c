//! `cargo xtask demo`: everyday programs on glibc and on granule, then kernels
//! on granule.
//!
//! ```text
//! build ─ prove the preload ─ rounds × programs × {glibc, granule} ─ table
//! ```
//! Rounds interleave the two, and take turns in who goes first, so that a
//! machine that slows down slows both. Every output is compared, every round.

mod kernels;

use crate::allocator::{Allocator, Preload};
use crate::figures::{self, mebibytes, median, ratio, seconds};
use crate::process::Cost;
use crate::programs::{DEMO, Judge, Observed, Program, START, Scale};
use crate::progress::Progress;
use crate::table::{Cell, Table, Tone, heading};
use crate::{Outcome, Verdict, setup};
use anyhow::{Result, bail};
use clap::Args;

/// Options of `cargo xtask demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each program runs on each allocator
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only programs, and machines for a kernel, whose name contains one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// The two we compare: the baseline first.
const SIDES: [Allocator; 2] = [Allocator::Glibc, Allocator::Granule];

/// What one program showed on each of [`SIDES`].
struct Shown {
    program: &'static Program,
    reference: Option<Observed>,
    costs: [Vec<Cost>; 2],
    failures: Vec<String>,
}

/// Runs `cargo xtask demo`.
pub(crate) fn run(options: &Options) -> Outcome {
    let boots = kernels::choose(&options.names);
    let chosen = choose(&options.names);
    if chosen.is_empty() && boots.is_empty() {
        let all: Vec<_> = DEMO.iter().map(|program| program.name).collect();
        bail!("nothing of that name; there are: {}; riscv64; aarch64", all.join("; "));
    }
    let mut needs: Vec<_> = chosen.iter().flat_map(|program| program.needs).collect();
    needs.extend(boots.iter().map(|boot| boot.machine.needs()));
    setup::ensure(&needs)?;
    let programs = if chosen.is_empty() { Verdict::Good } else { compare(chosen, options.rounds)? };
    let kernels = kernels::show(&boots)?;
    Ok(Verdict::from_check([programs, kernels] == [Verdict::Good; 2]))
}

/// Runs the programs on both sides, and prints what they cost.
fn compare(chosen: Vec<&'static Program>, rounds: u16) -> Outcome {
    let sides = [SIDES[0].ready()?, SIDES[1].ready()?];
    for program in &chosen {
        for under in &sides {
            program.prove(under)?;
        }
    }
    let mut shown: Vec<Shown> = chosen.into_iter().map(Shown::new).collect();
    let progress = Progress::new(usize::from(rounds) * shown.len());
    for round in 0..usize::from(rounds) {
        for one in &mut shown {
            let (turn, of) = (round + 1, rounds);
            progress.say(&format!("round {turn} of {of}: {}", one.program.name));
            one.round(round, &sides);
            progress.step();
        }
    }
    drop(progress);
    print(&shown, rounds);
    Ok(Verdict::from_check(shown.iter().all(|one| one.failures.is_empty())))
}

/// The programs named, or all.
fn choose(names: &[String]) -> Vec<&'static Program> {
    let wanted = |program: &&&'static Program| {
        names.is_empty() || names.iter().any(|name| program.name.contains(name.as_str()))
    };
    DEMO.iter().filter(wanted).copied().collect()
}

impl Shown {
    fn new(program: &'static Program) -> Shown {
        Shown { program, reference: None, costs: [Vec::new(), Vec::new()], failures: Vec::new() }
    }

    /// Runs the program once on each side. The first round starts with glibc,
    /// whose output is the reference for all that follow.
    fn round(&mut self, round: usize, sides: &[Preload; 2]) {
        let order = if round.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for side in order {
            if let Err(error) = self.once(side, &sides[side]) {
                self.failures.push(format!("on {}: {error:#}", SIDES[side].name()));
            }
        }
    }

    fn once(&mut self, side: usize, under: &Preload) -> Result<()> {
        let seen = self.program.observe(under, Scale::Demo)?;
        match &self.reference {
            Some(reference) if self.program.judge == Judge::SameOutput => {
                seen.require_same(reference)?;
            }
            None if SIDES[side] != Allocator::Glibc => bail!("no run on glibc to compare with"),
            _ => {}
        }
        self.costs[side].push(seen.cost);
        self.reference.get_or_insert(seen);
        Ok(())
    }

    /// The medians of one figure on both sides.
    fn medians(&self, figure: fn(&Cost) -> f64) -> [f64; 2] {
        self.costs.each_ref().map(|costs| {
            let values: Vec<f64> = costs.iter().map(figure).collect();
            median(&values)
        })
    }
}

/// A figure of a cost, and how to write it.
type Figure = (fn(&Cost) -> f64, fn(f64) -> String);

/// The figures of the table, from left to right.
const FIGURES: [Figure; 3] = [
    (|cost| cost.wall.as_secs_f64(), seconds),
    (|cost| cost.cpu.as_secs_f64(), seconds),
    (|cost| figures::kib(cost.peak_kib), mebibytes),
];

/// Prints the table, what the programs do, and every failure.
fn print(shown: &[Shown], rounds: u16) {
    heading(&format!("Everyday programs on glibc and on granule, medians of {rounds} rounds"));
    println!();
    let heads =
        ["program", "time", "granule", "", "CPU", "granule", "", "peak", "granule", "", "output"];
    let mut table = Table::new(&heads);
    for one in shown {
        let mut cells = vec![Cell::new(one.program.name)];
        for (figure, text) in FIGURES {
            let [glibc, granule] = one.medians(figure);
            cells.push(Cell::toned(text(glibc), Tone::Faint));
            cells.push(Cell::new(text(granule)));
            cells.push(Cell::ratio(ratio(granule, glibc)));
        }
        cells.push(match one.failures.is_empty() {
            true if one.reference.as_ref().is_some_and(|seen| seen.output.is_empty()) => {
                Cell::toned("none", Tone::Faint)
            }
            true => Cell::toned("same", Tone::Good),
            false => Cell::toned("FAILED", Tone::Bad),
        });
        table.row(cells);
    }
    table.print();
    println!();
    for one in shown {
        println!("  {:<21} {}", one.program.name, one.program.about);
    }
    println!("\n  CPU is user and system time of all processes; peak is resident memory of the");
    println!("  largest. Ratios are granule to glibc: below 1 is better.");
    for one in shown.iter().filter(|one| one.program.name == START.name) {
        let [time, _, peak] = FIGURES.map(|(figure, _)| {
            let [glibc, granule] = one.medians(figure);
            granule - glibc
        });
        // The ratio of two small figures says little; a person pays the difference.
        println!(
            "  A process starts {:+.2} ms later and is {:+.2} MiB larger than on glibc.",
            time * 1e3,
            peak / 1024.0
        );
    }
    for one in shown {
        for failure in &one.failures {
            println!("\nFAILED {} {failure}", one.program.name);
        }
    }
}
