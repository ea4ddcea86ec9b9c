//! A machine of many virtual CPUs: each is a thread of its own, and time is told by
//! what they have done.

use granule_core::base::fault::Fault;
use granule_core::base::limits::Limits;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::{Config, Environment, Heap};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread;

/// Most virtual CPUs.
pub(crate) const CPUS: usize = 256;

/// A heap of the simulated machine with caches of the first `CACHES` CPUs.
pub(crate) type Simulated<const CACHES: usize> = Heap<Simulation<CACHES>>;

/// Its parts.
pub(crate) struct Simulation<const CACHES: usize>;

impl<const CACHES: usize> Config for Simulation<CACHES> {
    type Pages = granule::HostPages;
    type Front = Guarded<Threads, Counting, CACHES>;
    type Env = Counting;

    /// As in user space on Linux.
    const LIMITS: Limits = Limits { drain_idle_ms: 1000, ..Limits::BALANCED };
}

thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// Makes the calling thread a virtual CPU, below [`CPUS`] and no other thread's.
pub(crate) fn become_cpu(cpu: usize) {
    CPU.set(cpu);
}

static ENTERED: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];

/// A virtual CPU while a hit runs on it.
pub(crate) struct Entered(usize);

impl Entered {
    fn enter(cpu: usize) -> Self {
        // Acquire: pairs with the Release of the last one's drop.
        while ENTERED[cpu].swap(true, Acquire) {
            thread::yield_now();
        }
        Self(cpu)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next entry.
        ENTERED[self.0].store(false, Release);
    }
}

/// Threads as virtual CPUs.
pub(crate) struct Threads;

// SAFETY: an id is one thread's, and its flag one owner's at a time, with Acquire and
// Release; nothing nests.
unsafe impl Cpu for Threads {
    type Guard = Entered;

    const CPUS: usize = CPUS;

    fn try_enter() -> Option<(usize, Entered)> {
        let cpu = CPU.get();
        Some((cpu, Entered::enter(cpu)))
    }

    fn quiesce(cpu: usize) -> bool {
        drop(Entered::enter(cpu));
        true
    }
}

/// What the machine has done, in thousandths of a virtual nanosecond on all its CPUs.
static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Lets a virtual time pass in which `running` CPUs did something, from one of them.
pub(crate) fn pass(nanoseconds: u64, running: usize) {
    CLOCK.fetch_add(nanoseconds * 1000 / running as u64, Relaxed);
}

static TRIES: AtomicU64 = AtomicU64::new(0);
static CONTENDED: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Kinds of locks, by what they guard.
pub(crate) const KINDS: [(&str, &str); 6] = [
    ("regions", "()"),
    ("slabs", "ClassSlabs"),
    ("depot", "Shelf"),
    ("stash", "Stash"),
    ("pool", "Blocks"),
    ("slots", "Unused"),
];

/// Tries so far, and those of each kind that found a lock taken.
pub(crate) fn counts() -> [u64; 1 + KINDS.len()] {
    std::array::from_fn(|at| match at {
        0 => TRIES.load(Relaxed),
        kind => CONTENDED[kind - 1].load(Relaxed),
    })
}

/// Counts.
pub(crate) struct Counting;

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
        (CLOCK.load(Relaxed) / 1_000_000_000) as u32
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("{fault}");
        std::process::abort()
    }
}
