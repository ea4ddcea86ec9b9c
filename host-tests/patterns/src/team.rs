//! Threads that start together.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// What a run took.
pub(crate) struct Took {
    /// From when the first thread began to when the last had ended.
    pub(crate) time: Duration,
    /// What was left at the end, where the workload is about that.
    pub(crate) end: Option<End>,
}

/// Memory when the work was done.
pub(crate) struct End {
    /// What the process held.
    pub(crate) resident_kib: u64,
    /// What the workload still used.
    pub(crate) live_kib: u64,
}

impl From<Duration> for Took {
    fn from(time: Duration) -> Took {
        Took { time, end: None }
    }
}

/// Runs `work` with each number below `threads` on a thread of its own.
pub(crate) fn together(threads: usize, work: impl Fn(usize) + Sync) -> Took {
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let members: Vec<_> = (0..threads)
            .map(|number| {
                let (ready, work) = (&ready, &work);
                scope.spawn(move || {
                    ready.wait();
                    // Its own clock: whoever waits for a crowd may be the last
                    // to be told that it has started.
                    let started = Instant::now();
                    work(number);
                    started
                })
            })
            .collect();
        ready.wait();
        let mut started = Instant::now();
        for member in members {
            match member.join() {
                Ok(its) => started = started.min(its),
                // A worker that panics aborts the process: there is no
                // unwinding here, so nothing is measured from half a team.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        started.elapsed().into()
    })
}

/// The part of `operations` that falls to one of `threads`; at least one.
pub(crate) fn share(operations: u64, threads: usize) -> u64 {
    (operations / threads as u64).max(1)
}
