//! What sharing costs as CPUs grow past those that are here: the portable front
//! end with up to 256 virtual CPUs and 1,024 threads, in counts.
//!
//! ```text
//! granule-scaling [MOST]     a row for 1, 2, 4, ... MOST virtual CPUs
//! ```
//! Each virtual CPU runs four threads in turn, for a while each; now and then one goes
//! on on another CPU. The real CPUs are few, so time is sliced thinly: a virtual CPU
//! gives way every 20 microseconds, wherever it is. One that holds a lock then holds it
//! while all the others have their slice, as one in so many does at any instant where
//! as many CPUs run at once: so locks meet in slow motion as often as they would meet
//! there. The heap's clock goes by what was done, not by how long that takes here.
//!
//! Counted are tries for locks, those that found one taken (a line of the cache
//! that two CPUs want at once), and bytes in caches. What must not grow with the
//! CPUs: tries and contended tries by operation, and bytes by CPU. Then three in four
//! CPUs rest for seconds while the others go on slowly: what is cached must follow
//! those that run. A run that breaks one of these fails, and so does one in which no
//! locks meet without caches. Atomic operations are not counted one by one: a hit has none, and a
//! miss has them under the locks counted here.

mod load;
mod machine;
mod slices;

use anyhow::{Context, Result, ensure};
use granule_core::Heap;
use granule_core::cache::guarded::Guarded;
use load::{Shared, Task};
use machine::{CPUS, KINDS, Simulated};
use slices::Slices;
use std::collections::VecDeque;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Threads a virtual CPU.
const CROWD: usize = 4;
/// Operations of a virtual CPU before counting, and again while counting. As many on
/// any number of CPUs, or their caches would be colder the more there are.
const OPERATIONS: usize = 80_000;
/// Operations for which a thread runs before the next one of its CPU does.
const TURN: usize = 1_000;
/// One turn in so many ends on another CPU.
const STAY: usize = 8;
/// CPUs of the run without caches.
const CONTROL: usize = 8;
/// Operations of 1,000 that may meet others at a lock, with caches, on any number of CPUs.
const CONTENDED_MAX: f64 = 0.5;
/// Virtual nanoseconds of an operation, in a hurry and at rest.
const HURRY: u64 = 50;
const REST: u64 = 50_000;

fn main() -> Result<()> {
    let most = std::env::args().nth(1).map_or(Ok(CPUS), |most| most.parse()).context("MOST")?;
    print!(
        "  {:>4} {:>7} {:>13} {:>13} {:>10} {:>9} {:>9} {:>9} {:>6}",
        "CPUs",
        "threads",
        "locks/1000op",
        "contended",
        "cached",
        "by CPU",
        "at rest",
        "live",
        "time"
    );
    KINDS.iter().for_each(|(name, _)| print!("{name:>8}"));
    println!();
    let mut cpus = 1;
    while cpus <= most.min(CPUS) {
        let row = measure::<CPUS>(cpus);
        print_row(cpus, &row);
        let contended = row.contended();
        ensure!(contended <= CONTENDED_MAX, "{contended:.3} of 1,000 operations met at a lock");
        let followed = cpus < 8 || row.resting_kib <= row.cached_kib / 2.0;
        ensure!(followed, "caches of CPUs at rest were kept");
        cpus *= 2;
    }
    println!("  and, to see that locks do meet here, without caches:");
    let row = measure::<0>(CONTROL);
    print_row(CONTROL, &row);
    ensure!(row.contended() >= 10.0 * CONTENDED_MAX, "nothing was seen to meet at a lock");
    Ok(())
}

fn print_row(cpus: usize, row: &Row) {
    print!(
        "  {cpus:>4} {:>7} {:>13.2} {:>13.3} {:>6.0} KiB {:>5.0} KiB {:>5.0} KiB {:>5.1} MiB {:>4.1} s",
        cpus * CROWD,
        row.locks,
        row.contended(),
        row.cached_kib,
        row.cached_kib / cpus as f64,
        row.resting_kib / cpus as f64,
        row.live_kib / 1024.0,
        row.seconds,
    );
    row.contended.iter().for_each(|kind| print!("{kind:>8.3}"));
    println!();
}

/// What one number of CPUs comes to.
struct Row {
    /// Tries for a lock in 1,000 operations.
    locks: f64,
    /// Those that found it taken, by kind.
    contended: [f64; KINDS.len()],
    cached_kib: f64,
    /// What is cached after most CPUs have rested.
    resting_kib: f64,
    live_kib: f64,
    seconds: f64,
}

impl Row {
    /// Tries in 1,000 operations that found a lock taken.
    fn contended(&self) -> f64 {
        self.contended.iter().sum()
    }
}

fn measure<const CACHES: usize>(cpus: usize) -> Row {
    // A heap of its own for each row: caches of more CPUs must not linger.
    let heap: &Simulated<CACHES> =
        Box::leak(Box::new(Heap::new(granule::HostPages::new(), Guarded::new())));
    let shared = Shared::new(heap, cpus * CROWD, cpus);
    let step = Barrier::new(cpus + 1);
    thread::scope(|scope| {
        for cpu in 0..cpus {
            let (shared, step) = (&shared, &step);
            scope.spawn(move || {
                machine::become_cpu(cpu);
                let mut tasks: VecDeque<_> =
                    (0..CROWD).map(|at| Task::new(cpu * CROWD + at)).collect();
                let slices = Slices::start();
                work(shared, &mut tasks, cpu, Pace { running: cpus, nanoseconds: HURRY });
                slices.pause();
                step.wait();
                step.wait();
                slices.resume();
                work(shared, &mut tasks, cpu, Pace { running: cpus, nanoseconds: HURRY });
                slices.pause();
                step.wait();
                step.wait();
                let running = cpus.div_ceil(4);
                if cpu < running {
                    slices.resume();
                    work(shared, &mut tasks, cpu, Pace { running, nanoseconds: REST });
                    slices.pause();
                }
                step.wait();
                step.wait();
                tasks.extend(shared.arrived(cpu));
                tasks.into_iter().for_each(|task| task.end(heap));
            });
        }
        // Caches are warm: from here on counts.
        step.wait();
        let before = machine::counts();
        let started = Instant::now();
        step.wait();
        step.wait();
        let seconds = started.elapsed().as_secs_f64();
        let after = machine::counts();
        let stats = heap.stats();
        step.wait();
        step.wait();
        let resting = heap.stats();
        step.wait();
        let operations = (cpus * OPERATIONS) as f64;
        let by_thousand = |at: usize| (after[at] - before[at]) as f64 * 1000.0 / operations;
        Row {
            locks: by_thousand(0),
            contended: std::array::from_fn(|kind| by_thousand(1 + kind)),
            cached_kib: stats.cached_bytes as f64 / 1024.0,
            resting_kib: resting.cached_bytes as f64 / 1024.0,
            live_kib: stats.live_bytes() as f64 / 1024.0,
            seconds,
        }
    })
}

/// How fast the machine goes, by its own clock.
#[derive(Clone, Copy)]
struct Pace {
    /// CPUs that run.
    running: usize,
    /// What an operation takes.
    nanoseconds: u64,
}

/// Runs a CPU's threads in turn, and whichever come by.
fn work<const CACHES: usize>(
    shared: &Shared<'_, CACHES>,
    tasks: &mut VecDeque<Task>,
    cpu: usize,
    pace: Pace,
) {
    for turn in 0..OPERATIONS / TURN {
        tasks.extend(shared.arrived(cpu));
        let Some(mut task) = tasks.pop_front() else { continue };
        task.run(shared, TURN);
        machine::pass(TURN as u64 * pace.nanoseconds, pace.running);
        // One stays, else a CPU could have nothing to do when the others rest, and time
        // not pass.
        if turn % STAY == STAY - 1 && !tasks.is_empty() {
            tasks.extend(shared.migrate(task, pace.running));
        } else {
            tasks.push_back(task);
        }
    }
}
