//! What was measured, and what it comes to against the best peer.

use super::peers::{OURS, is_ours};
use super::workloads::{Kind, Workload};
use crate::figures::{geometric_mean, kib, mebibytes, median, quartile_spread, seconds};
use crate::process::Cost;
use serde::Serialize;

/// One workload on all allocators.
#[derive(Serialize)]
pub(super) struct Measured {
    /// Its name and its threads.
    pub(super) workload: String,
    /// How many threads; 0 for a real program, which decides itself.
    pub(super) threads: usize,
    /// What one operation is.
    pub(super) about: String,
    /// One entry an allocator, in the order they were given.
    pub(super) on: Vec<On>,
}

/// All rounds of one workload on one allocator.
#[derive(Serialize)]
pub(super) struct On {
    /// The allocator's name.
    pub(super) allocator: &'static str,
    /// One entry a round.
    pub(super) samples: Vec<Sample>,
    /// System calls of one run, where they were counted.
    pub(super) system_calls: Option<f64>,
    /// Why there are no more samples.
    pub(super) failure: Option<Failure>,
}

/// A run that failed: one line.
#[derive(Serialize)]
pub(super) struct Failure(pub(super) String);

impl Failure {
    /// The error and the last line of what the program said.
    pub(super) fn new(error: &anyhow::Error) -> Failure {
        let text = format!("{error:#}");
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let last = lines.next_back().map(|last| format!(": {last}")).unwrap_or_default();
        Failure(format!("{first}{last}"))
    }
}

/// One run.
#[derive(Serialize)]
pub(super) struct Sample {
    /// User and system seconds of the process.
    pub(super) cpu_seconds: f64,
    /// Seconds of the workload.
    pub(super) wall_seconds: f64,
    /// Peak resident memory of the process.
    pub(super) peak_kib: f64,
    /// Page faults of the process.
    pub(super) faults: f64,
    /// Resident memory at the end, relative to what the workload still used;
    /// where it is about that.
    pub(super) end_to_live: Option<f64>,
}

impl Sample {
    /// What the kernel says of a run.
    pub(super) fn of_program(cost: &Cost) -> Sample {
        Sample {
            cpu_seconds: cost.cpu.as_secs_f64(),
            wall_seconds: cost.wall.as_secs_f64(),
            peak_kib: kib(cost.peak_kib),
            faults: kib(cost.faults),
            end_to_live: None,
        }
    }
}

/// A figure of a run. Less is better for each.
pub(super) struct Figure {
    /// Its title.
    pub(super) title: &'static str,
    /// In few characters.
    pub(super) short: &'static str,
    /// Of all rounds; nothing where it was not measured.
    pub(super) of: fn(&On) -> Vec<f64>,
    /// How to write one.
    pub(super) text: fn(f64) -> String,
}

/// What is reported, in this order. The first and third are what counts most.
pub(super) const FIGURES: [Figure; 6] = [
    Figure {
        title: "Processor time",
        short: "CPU",
        of: |on| on.samples.iter().map(|sample| sample.cpu_seconds).collect(),
        text: seconds,
    },
    Figure {
        title: "Wall time",
        short: "wall",
        of: |on| on.samples.iter().map(|sample| sample.wall_seconds).collect(),
        text: seconds,
    },
    Figure {
        title: "Peak resident memory",
        short: "RSS",
        of: |on| on.samples.iter().map(|sample| sample.peak_kib).collect(),
        text: mebibytes,
    },
    Figure {
        title: "Page faults",
        short: "faults",
        of: |on| on.samples.iter().map(|sample| sample.faults).collect(),
        text: whole,
    },
    Figure {
        title: "System calls",
        short: "calls",
        of: |on| on.system_calls.into_iter().collect(),
        text: whole,
    },
    Figure {
        title: "Resident at the end against live bytes",
        short: "end/live",
        of: |on| on.samples.iter().filter_map(|sample| sample.end_to_live).collect(),
        text: |value| format!("{value:.2}"),
    },
];

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

impl Measured {
    /// A workload of which nothing is measured yet.
    pub(super) fn new(workload: &Workload, allocators: &[&'static str]) -> Measured {
        let on = allocators.iter().map(|&allocator| On {
            allocator,
            samples: Vec::new(),
            system_calls: None,
            failure: None,
        });
        Measured {
            workload: workload.title(),
            threads: match workload.kind {
                Kind::Pattern(threads) => threads,
                Kind::Program(_) => 0,
            },
            about: workload.about.clone(),
            on: on.collect(),
        }
    }

    /// The best of the peers in `figure`, granule not among them: its name and
    /// its median.
    pub(super) fn best_peer(&self, figure: &Figure) -> Option<(&'static str, f64)> {
        let peers = self.on.iter().filter(|on| !is_ours(on.allocator));
        let medians = peers.filter_map(|on| Some((on.allocator, on.median(figure)?)));
        medians.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The median on the allocator at `at` to that of the best peer.
    pub(super) fn ratio(&self, at: usize, figure: &Figure) -> Option<f64> {
        Some(against(self.on[at].median(figure)?, self.best_peer(figure)?.1))
    }
}

/// `value / best`, where counts may be nothing at all.
fn against(value: f64, best: f64) -> f64 {
    const LEAST: f64 = 1e-6;
    value.max(LEAST) / best.max(LEAST)
}

impl On {
    /// The median of `figure`.
    pub(super) fn median(&self, figure: &Figure) -> Option<f64> {
        let values = (figure.of)(self);
        (!values.is_empty()).then(|| median(&values))
    }

    /// Half of the values lie in so much of the median.
    pub(super) fn spread(&self, figure: &Figure) -> f64 {
        quartile_spread(&(figure.of)(self))
    }
}

/// A geometric mean over workloads, and how it came out in single rounds.
pub(super) struct Mean {
    /// Of the medians.
    pub(super) mean: f64,
    /// The smallest and the largest of a single round.
    pub(super) range: (f64, f64),
    /// Over so many workloads.
    pub(super) runs: usize,
}

/// The geometric mean of `figure` on the allocator at `at`, against the best
/// peer of each workload.
pub(super) fn mean(measured: &[Measured], at: usize, figure: &Figure) -> Option<Mean> {
    let ratios: Vec<f64> = measured.iter().filter_map(|one| one.ratio(at, figure)).collect();
    let rounds = measured.iter().map(|one| (figure.of)(&one.on[at]).len()).max()?;
    let of_round = |round: usize| {
        let ratios = measured.iter().filter_map(|one| {
            let value = *(figure.of)(&one.on[at]).get(round)?;
            Some(against(value, one.best_peer(figure)?.1))
        });
        geometric_mean(&ratios.collect::<Vec<_>>())
    };
    let means: Vec<f64> = (0..rounds).map(of_round).collect();
    let low = means.iter().copied().fold(f64::MAX, f64::min);
    let high = means.iter().copied().fold(0.0, f64::max);
    let runs = ratios.len();
    (runs > 0).then(|| Mean { mean: geometric_mean(&ratios), range: (low, high), runs })
}

/// The workloads on which granule does worst in `figure`, the worst first:
/// where they stand in `measured`, and the ratio.
pub(super) fn worst(measured: &[Measured], figure: &Figure) -> Vec<(usize, f64)> {
    let ours = |one: &Measured| one.on.iter().position(|on| on.allocator == OURS);
    let mut all: Vec<_> = measured
        .iter()
        .enumerate()
        .filter_map(|(index, one)| Some((index, one.ratio(ours(one)?, figure)?)))
        .collect();
    all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(allocator: &'static str, cpu: &[f64]) -> On {
        let samples = cpu.iter().map(|&cpu_seconds| Sample {
            cpu_seconds,
            wall_seconds: 1.0,
            peak_kib: 1.0,
            faults: 0.0,
            end_to_live: None,
        });
        On { allocator, samples: samples.collect(), system_calls: None, failure: None }
    }

    fn run(on: Vec<On>) -> Measured {
        Measured { workload: "x".into(), threads: 1, about: String::new(), on }
    }

    #[test]
    fn granule_is_no_peer_of_its_own() {
        let one = run(vec![on(OURS, &[1.0]), on("a", &[2.0]), on("b", &[4.0])]);
        assert_eq!(one.best_peer(&FIGURES[0]), Some(("a", 2.0)));
        assert_eq!(one.ratio(0, &FIGURES[0]), Some(0.5));
        assert_eq!(one.ratio(2, &FIGURES[0]), Some(2.0));
    }

    #[test]
    fn nor_are_its_presets() {
        let one = run(vec![on(OURS, &[3.0]), on("granule frugal", &[1.0]), on("a", &[2.0])]);
        assert_eq!(one.best_peer(&FIGURES[0]), Some(("a", 2.0)));
        assert_eq!(one.ratio(1, &FIGURES[0]), Some(0.5));
    }

    #[test]
    fn who_failed_has_no_ratio_and_counts_in_no_mean() {
        let one = run(vec![on(OURS, &[1.0]), on("a", &[2.0]), on("b", &[])]);
        let two = run(vec![on(OURS, &[8.0]), on("a", &[2.0]), on("b", &[2.0])]);
        assert_eq!(one.ratio(2, &FIGURES[0]), None);
        let both = [one, two];
        assert_eq!(mean(&both, 2, &FIGURES[0]).expect("one run").runs, 1);
        let ours = mean(&both, 0, &FIGURES[0]).expect("two runs");
        assert!((ours.mean - 2f64.sqrt()).abs() < 1e-9);
        assert_eq!(worst(&both, &FIGURES[0])[0], (1, 4.0));
    }

    #[test]
    fn nothing_against_nothing_is_even() {
        let one = run(vec![on(OURS, &[1.0]), on("a", &[2.0])]);
        assert_eq!(one.ratio(0, &FIGURES[3]), Some(1.0));
    }
}
