//! What sharing costs as CPUs grow past those that are here: the portable front
//! end with up to 256 virtual CPUs and 1,024 threads, in counts.
//!
//! ```text
//! granule-scaling [MOST]     a row for 1, 2, 4, ... MOST virtual CPUs
//! ```
//! A virtual CPU is a flag that one thread holds at a time; threads hop. Four
//! threads a CPU replace blocks of their own and, one time in eight, free one
//! that another thread took. The real CPUs are few, so time is sliced thinly:
//! each thread gives way every 20 microseconds, wherever it is. One that holds
//! a lock then holds it while all the others have their slice, as one in so many
//! does at any instant where as many CPUs run at once: so locks meet in slow
//! motion as often as they would meet there.
//!
//! Counted are tries for locks, those that found one taken (a line of the cache
//! that two CPUs want at once), and bytes in caches. What must not grow with the
//! CPUs: tries and contended tries by operation, and bytes by CPU. Atomic
//! operations are not counted one by one: a hit has none, and a miss has them
//! under the locks counted here.

mod slices;

use anyhow::{Context, Result};
use granule_core::base::fault::Fault;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::{Config, Environment, Heap};
use slices::Slices;
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::thread;
use std::time::Instant;

/// Most virtual CPUs.
const CPUS: usize = 256;
/// Threads a virtual CPU.
const CROWD: usize = 4;
/// Operations of a thread before counting, and again while counting. As many on
/// any number of CPUs, or their caches would be colder the more there are.
const OPERATIONS: usize = 20_000;
/// Blocks that a thread has.
const SLOTS: usize = 64;

fn main() -> Result<()> {
    let most = std::env::args().nth(1).map_or(Ok(CPUS), |most| most.parse()).context("MOST")?;
    print!(
        "  {:>4} {:>7} {:>13} {:>13} {:>11} {:>11} {:>10} {:>7}",
        "CPUs", "threads", "locks/1000op", "contended", "cached", "by CPU", "live", "time"
    );
    KINDS.iter().for_each(|(name, _)| print!("{name:>8}"));
    println!();
    let mut cpus = 1;
    while cpus <= most.min(CPUS) {
        let row = measure(cpus);
        print!(
            "  {cpus:>4} {:>7} {:>13.2} {:>13.3} {:>7.0} KiB {:>7.1} KiB {:>6.1} MiB {:>5.1} s",
            cpus * CROWD,
            row.locks,
            row.contended.iter().sum::<f64>(),
            row.cached_kib,
            row.cached_kib / cpus as f64,
            row.live_kib / 1024.0,
            row.seconds,
        );
        row.contended.iter().for_each(|kind| print!("{kind:>8.3}"));
        println!();
        cpus *= 2;
    }
    Ok(())
}

/// What one number of CPUs comes to.
struct Row {
    /// Tries for a lock in 1,000 operations.
    locks: f64,
    /// Those that found it taken, by kind.
    contended: [f64; KINDS.len()],
    cached_kib: f64,
    live_kib: f64,
    seconds: f64,
}

/// A heap of its own for each row: caches of more CPUs must not linger.
type Simulated = Heap<Simulation>;

fn measure(cpus: usize) -> Row {
    ACTIVE.store(cpus, Relaxed);
    let heap: &Simulated =
        Box::leak(Box::new(Heap::new(granule::HostPages::new(), Guarded::new())));
    let threads = cpus * CROWD;
    let shared: Vec<_> = (0..threads).map(|_| Mutex::new(None)).collect();
    let all_ready = std::sync::Barrier::new(threads + 1);
    let done = std::sync::Barrier::new(threads + 1);
    thread::scope(|scope| {
        for number in 0..threads {
            let (shared, all_ready, done) = (&shared, &all_ready, &done);
            scope.spawn(move || {
                CURRENT.set(number % cpus);
                STEP.set(number as u32 * 2_654_435_761 + 1);
                let mut mine: Vec<_> = (0..SLOTS).map(|_| None).collect();
                let slices = Slices::start();
                churn(heap, &mut mine, shared, number);
                slices.pause();
                all_ready.wait();
                all_ready.wait();
                slices.resume();
                churn(heap, &mut mine, shared, number);
                slices.pause();
                done.wait();
                done.wait();
                mine.into_iter().flatten().for_each(|block| give(heap, block));
            });
        }
        // Caches are warm: from here on counts.
        all_ready.wait();
        let before = counts();
        let started = Instant::now();
        all_ready.wait();
        done.wait();
        let seconds = started.elapsed().as_secs_f64();
        let after = counts();
        let stats = heap.stats();
        done.wait();
        let operations = (threads * OPERATIONS) as f64;
        let by_thousand = |at: usize| (after[at] - before[at]) as f64 * 1000.0 / operations;
        Row {
            locks: by_thousand(0),
            contended: std::array::from_fn(|kind| by_thousand(1 + kind)),
            cached_kib: stats.cached_bytes as f64 / 1024.0,
            live_kib: stats.live_bytes() as f64 / 1024.0,
            seconds,
        }
    })
}

/// A live block.
type Block = (NonNull<u8>, Layout);
/// A block that any thread may take over.
type Place = Mutex<Option<Handed>>;

/// A block on its way to another thread.
struct Handed(Block);

// SAFETY: whoever has the value is the only one to use the block.
unsafe impl Send for Handed {}

fn churn(heap: &Simulated, mine: &mut [Option<Block>], shared: &[Place], number: usize) {
    for _ in 0..OPERATIONS {
        let random = step();
        let at = (random >> 8) as usize % SLOTS;
        if random.is_multiple_of(8) {
            // One for somebody, and whatever somebody left for us.
            let place = &shared[(random >> 16) as usize % shared.len()];
            let handed = mine[at].take().map(Handed);
            let other = std::mem::replace(&mut *place.lock().expect("no panic inside"), handed);
            if let Some(Handed(block)) = other {
                give(heap, block);
            }
            let ours = shared[number].lock().expect("no panic inside").take();
            if let Some(Handed(block)) = ours {
                give(heap, block);
            }
        } else if let Some(block) = mine[at].take() {
            give(heap, block);
        }
        if mine[at].is_none() {
            let size = 16 + (random >> 12) as usize % 497;
            let layout = Layout::from_size_align(size, 16).expect("a small layout");
            mine[at] = Some((NonNull::new(heap.alloc(layout)).expect("memory"), layout));
        }
    }
}

fn give(heap: &Simulated, (block, layout): Block) {
    // SAFETY: live, of this layout, and given up by its only owner.
    unsafe { heap.dealloc(block, layout) };
}

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static STEP: Cell<u32> = const { Cell::new(1) };
}

/// The next number of this thread's sequence.
fn step() -> u32 {
    let mut step = STEP.get();
    step ^= step << 13;
    step ^= step >> 17;
    step ^= step << 5;
    STEP.set(step);
    step
}

/// Virtual CPUs in use.
static ACTIVE: AtomicUsize = AtomicUsize::new(1);
static ENTERED: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];
static TRIES: AtomicU64 = AtomicU64::new(0);
static CONTENDED: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Kinds of locks, by what they guard.
const KINDS: [(&str, &str); 6] = [
    ("regions", "()"),
    ("slabs", "ClassSlabs"),
    ("depot", "Shelf"),
    ("stash", "Stash"),
    ("pool", "Blocks"),
    ("slots", "Unused"),
];

/// Tries so far, and those of each kind that found a lock taken.
fn counts() -> [u64; 1 + KINDS.len()] {
    std::array::from_fn(|at| match at {
        0 => TRIES.load(Relaxed),
        kind => CONTENDED[kind - 1].load(Relaxed),
    })
}

/// A virtual CPU, kept from other threads.
struct Entered(usize);

impl Drop for Entered {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next entry.
        ENTERED[self.0].store(false, Release);
    }
}

/// Threads on virtual CPUs, which move now and then.
struct Hopping;

// SAFETY: the flag of a CPU is one thread's at a time, with Acquire and
// Release; nothing nests.
unsafe impl Cpu for Hopping {
    type Guard = Entered;

    const CPUS: usize = CPUS;

    fn try_enter() -> Option<(usize, Entered)> {
        let active = ACTIVE.load(Relaxed);
        if step().is_multiple_of(256) {
            CURRENT.set(step() as usize % active);
        }
        loop {
            let cpu = CURRENT.get();
            // Acquire: pairs with the Release of the last one's drop.
            if !ENTERED[cpu].swap(true, Acquire) {
                return Some((cpu, Entered(cpu)));
            }
            // Somebody runs there: we are not, until we are somewhere else.
            CURRENT.set(step() as usize % active);
            thread::yield_now();
        }
    }

    fn quiesce(cpu: usize) -> bool {
        while ENTERED[cpu].swap(true, Acquire) {
            thread::yield_now();
        }
        ENTERED[cpu].store(false, Release);
        true
    }
}

/// Counts.
struct Counting;

// SAFETY: nothing nests, allocates, or returns from a fault.
unsafe impl Environment for Counting {
    type Exclusion = ();

    fn exclude() {
        TRIES.fetch_add(1, Relaxed);
    }

    fn wait(_spins: u32) {
        thread::yield_now();
    }

    fn found_taken(guards: &'static str) {
        let kind = KINDS.iter().position(|(_, of)| guards.contains(of)).unwrap_or(0);
        CONTENDED[kind].fetch_add(1, Relaxed);
    }

    fn now_ms() -> u32 {
        // SAFETY: all bits zero is a valid timespec.
        let mut now: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: `now` is ours and writable.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
        (now.tv_sec as u32).wrapping_mul(1000).wrapping_add(now.tv_nsec as u32 / 1_000_000)
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("{fault}");
        std::process::abort()
    }
}

/// The heap.
struct Simulation;

impl Config for Simulation {
    type Pages = granule::HostPages;
    type Front = Guarded<Hopping, Counting, CPUS>;
    type Env = Counting;
}
