//! Pools, arenas and batches beside the crates they compete with: nanoseconds
//! an operation, medians of interleaved rounds, as ratios to the best crate.
//!
//! All memory, the crates' too, is granule's: what is compared is what stands
//! on top.
//!
//! ```sh
//! cargo xtask bench kits
//! ```

mod arenas;
mod batches;
mod pools;
mod shared;

use std::time::Instant;

#[global_allocator]
static GLOBAL: granule::Granule = granule::Granule::new();

/// How often each is measured.
const ROUNDS: usize = 21;

/// One way to do something: it does it so many times.
struct Way {
    name: &'static str,
    ours: bool,
    work: Box<dyn FnMut(usize)>,
}

impl Way {
    fn ours(name: &'static str, work: impl FnMut(usize) + 'static) -> Self {
        Self { name, ours: true, work: Box::new(work) }
    }

    fn other(name: &'static str, work: impl FnMut(usize) + 'static) -> Self {
        Self { name, ours: false, work: Box::new(work) }
    }
}

/// What is done, and all ways to do it.
struct Contest {
    about: &'static str,
    /// Operations a round.
    times: usize,
    ways: Vec<Way>,
}

/// A row of a table: nanoseconds an operation, and its spread.
struct Row {
    median: f64,
    /// Between the quartiles, in parts of the median.
    spread: f64,
}

fn row(mut times: Vec<f64>) -> Row {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times[times.len() * part / 4];
    Row { median: at(2), spread: (at(3) - at(1)) / at(2) }
}

fn hold(contest: Contest) -> Option<f64> {
    let Contest { about, times, mut ways } = contest;
    let mut measured = vec![Vec::with_capacity(ROUNDS); ways.len()];
    for round in 0..=ROUNDS {
        for (way, measured) in ways.iter_mut().zip(&mut measured) {
            let start = Instant::now();
            (way.work)(times);
            // The first round warms up.
            if round > 0 {
                measured.push(start.elapsed().as_nanos() as f64 / times as f64);
            }
        }
    }
    let rows: Vec<_> = measured.into_iter().map(row).collect();
    let others = ways.iter().zip(&rows).filter(|(way, _)| !way.ours);
    let best = others.map(|(_, row)| row.median).fold(f64::INFINITY, f64::min);
    println!("\n{about}");
    let mut ours = None;
    for (way, row) in ways.iter().zip(&rows) {
        let ratio = row.median / best;
        println!(
            "  {:<32}{:>9.1} ns {ratio:>7.2}x  +-{:.0} %",
            way.name,
            row.median,
            row.spread * 100.0
        );
        if way.ours {
            ours.get_or_insert(ratio);
        }
    }
    ours
}

fn main() {
    println!("Each ratio is to the best of the others; below 1 is better than all of them.");
    let mut ratios = Vec::new();
    let contests = [pools::contests(), shared::contests(), arenas::contests(), batches::contests()];
    for contest in contests.into_iter().flatten() {
        ratios.extend(hold(contest));
    }
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    println!("\nGeometric mean of granule's: {:.2}x", (logs / ratios.len() as f64).exp());
}
