//! The table of workloads. To add one: a module, and a line here.

mod batch;
mod burst;
mod churn;
mod exchange;
mod hot;
mod large;
mod larson;
mod lives;
mod phases;
mod sharing;
mod start;

pub(crate) use start::NOTHING;

use crate::team::Took;

/// A pattern of allocation.
pub(crate) struct Workload {
    /// Its name on the command line and in tables.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) about: &'static str,
    /// How many threads are worth measuring.
    pub(crate) threads: &'static [usize],
    /// Operations of all threads together, for some tenth of a second.
    pub(crate) operations: u64,
    /// Runs so many threads, which share so many operations.
    pub(crate) run: fn(threads: usize, operations: u64) -> Took,
}

/// Numbers of threads: alone, as many as a small machine has CPUs, more, and
/// many more.
const SCALE: &[usize] = &[1, 2, 16, 64];
/// The same for what takes two threads.
const SHARED: &[usize] = &[2, 16, 64];

/// All of them.
pub(crate) const WORKLOADS: &[Workload] = &[
    hot::PAIR_16,
    hot::PAIR_64,
    hot::PAIR_512,
    hot::PAIR_4K,
    hot::PAIR_32K,
    hot::PAIR_256K,
    hot::PAIR_1M,
    batch::LIFO,
    batch::FIFO,
    batch::RANDOM,
    batch::WIDE,
    churn::SMALL,
    churn::SERVER,
    churn::WIDE,
    larson::LARSON,
    exchange::HANDOFF,
    exchange::FAN_OUT,
    sharing::ACTIVE,
    sharing::PASSIVE,
    burst::OWN,
    burst::ACROSS,
    large::BLOCK,
    large::RING,
    large::GROW,
    lives::LIVES,
    phases::PHASES,
    start::START,
];

#[cfg(test)]
mod tests {
    use super::WORKLOADS;
    use std::time::Duration;

    #[test]
    fn every_workload_runs_on_several_threads() {
        // It starts this program again, which here is the test.
        for workload in WORKLOADS.iter().filter(|workload| workload.name != "start") {
            for threads in 1..=3 {
                let took = (workload.run)(threads, 3_000);
                assert!(took.time > Duration::ZERO, "{} did nothing", workload.name);
            }
        }
    }

    #[test]
    fn names_are_unique_words() {
        for (at, workload) in WORKLOADS.iter().enumerate() {
            assert!(!workload.name.contains(char::is_whitespace), "{}", workload.name);
            assert!(!workload.threads.is_empty(), "{} is never run", workload.name);
            let earlier = &WORKLOADS[..at];
            assert!(earlier.iter().all(|other| other.name != workload.name), "{}", workload.name);
        }
    }
}
