//! The table of workloads. To add one: a module, and a line here.

mod exchange;
mod large;
mod small;

use std::time::Duration;

/// A pattern of allocation.
pub(crate) struct Workload {
    /// Its name on the command line and in tables.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) about: &'static str,
    /// How many threads are worth measuring.
    pub(crate) threads: &'static [usize],
    /// Operations a thread, for a run of some tenth of a second.
    pub(crate) operations: u64,
    /// Runs so many threads with so many operations each.
    pub(crate) run: fn(threads: usize, operations: u64) -> Duration,
}

/// All of them.
pub(crate) const WORKLOADS: &[Workload] = &[
    small::PAIR,
    small::SET,
    small::BATCH,
    exchange::HANDOFF,
    large::BLOCK,
    large::RING,
    large::GROW,
];

#[cfg(test)]
mod tests {
    use super::WORKLOADS;
    use std::time::Duration;

    #[test]
    fn every_workload_runs_on_several_threads() {
        for workload in WORKLOADS {
            for threads in 1..=3 {
                let time = (workload.run)(threads, 3_000);
                assert!(time > Duration::ZERO, "{} did nothing", workload.name);
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
