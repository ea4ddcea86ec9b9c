//! Threads that start together.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work` with each number below `threads` on a thread of its own; the
/// time from when all are ready to when the last has ended.
pub(crate) fn together(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let members: Vec<_> = (0..threads)
            .map(|number| {
                let (ready, work) = (&ready, &work);
                scope.spawn(move || {
                    ready.wait();
                    work(number);
                })
            })
            .collect();
        ready.wait();
        let started = Instant::now();
        for member in members {
            // A worker that panics aborts the process: there is no unwinding
            // here, so nothing is measured from half a team.
            if let Err(panic) = member.join() {
                std::panic::resume_unwind(panic);
            }
        }
        started.elapsed()
    })
}
