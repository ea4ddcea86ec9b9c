//! Threads that start together.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
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
                    at_some_depth(|| work(number));
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

/// Calls `work` somewhere within a page of the stack, another place each time.
///
/// A thread's stack begins at the same place of a page in all runs, and so does each
/// variable of an allocator's. Where a call's return address and a word that it loads
/// agree in their last 12 bits, processors wait: an allocator would win or lose a
/// twentieth by the order in which its variables were linked (Mytkowicz et al.,
/// "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009).
fn at_some_depth(work: impl FnOnce()) {
    const PAGE: usize = 4096;
    let mut work = Some(work);
    let random = RandomState::new().hash_one(0) as usize % PAGE;
    deeper((&raw const work).addr().wrapping_sub(random), &mut || {
        if let Some(work) = work.take() {
            work();
        }
    });
}

/// Calls `work` with the stack at this address or a few words below.
#[inline(never)]
fn deeper(address: usize, work: &mut dyn FnMut()) {
    let here = black_box(0_u8);
    if (&raw const here).addr() > address {
        deeper(address, work);
    } else {
        work();
    }
    black_box(&here);
}

/// The part of `operations` that falls to one of `threads`; at least one.
pub(crate) fn share(operations: u64, threads: usize) -> u64 {
    (operations / threads as u64).max(1)
}
