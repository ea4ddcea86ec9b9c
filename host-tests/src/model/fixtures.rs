//! Environment, CPUs and configurations for heaps under test.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use granule_core::base::fault::Fault;
use granule_core::base::limits::Limits;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::{Config, Environment, Heap, PageProvider};

/// An environment whose clock jumps 7 ms whenever it is read, so that ticks,
/// purges and releases come often.
#[derive(Clone, Copy, Debug)]
pub struct FastClock;

static NOW: AtomicU32 = AtomicU32::new(0);

// SAFETY: nothing nests, allocates from the heap under test, or returns from
// a fault.
unsafe impl Environment for FastClock {
    type Exclusion = ();

    fn exclude() {}

    fn wait(spins: u32) {
        if spins > 100 {
            std::thread::yield_now();
        }
    }

    fn now_ms() -> u32 {
        NOW.fetch_add(7, Ordering::Relaxed)
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("fault: {fault}");
        std::process::abort()
    }
}

/// One CPU that only one thread at a time uses.
#[derive(Clone, Copy, Debug)]
pub struct OneCpu;

// SAFETY: a heap with this CPU is used by one thread, and nothing nests.
unsafe impl Cpu for OneCpu {
    type Guard = ();

    fn try_enter() -> Option<(usize, ())> {
        Some((0, ()))
    }

    fn quiesce(_cpu: usize) -> bool {
        true
    }
}

/// CPUs that threads hop over without notice, each guarded by a flag: the
/// portable front end as a kernel with preemption and migration would see it.
/// An entry that meets another is refused, like an interrupt's.
#[derive(Clone, Copy, Debug)]
pub struct HoppingCpus;

/// Number of [`HoppingCpus`].
pub const CPUS: usize = 4;

static ENTERED: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];

thread_local! {
    static STEP: Cell<u32> = const { Cell::new(1) };
}

/// Leaves the CPU when dropped.
#[derive(Debug)]
pub struct Entered(usize);

impl Drop for Entered {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next entry.
        ENTERED[self.0].store(false, Ordering::Release);
    }
}

fn enter(cpu: usize) -> Option<Entered> {
    // Acquire: pairs with the Release of the last one's drop.
    // Lazily: an `Entered` that is not ours would leave when dropped.
    (!ENTERED[cpu].swap(true, Ordering::Acquire)).then(|| Entered(cpu))
}

// SAFETY: the flag of a CPU is one entry's at a time, with Acquire and
// Release.
unsafe impl Cpu for HoppingCpus {
    type Guard = Entered;

    fn try_enter() -> Option<(usize, Entered)> {
        let step = STEP.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        STEP.set(step);
        // Stays for about sixteen entries, and is refused now and then.
        let cpu = (step >> 28) as usize % CPUS;
        if (step >> 8).is_multiple_of(61) {
            return None;
        }
        let cpu = if (step >> 16).is_multiple_of(16) { cpu } else { step as usize / 7919 % 2 };
        enter(cpu).map(|entered| (cpu, entered))
    }

    fn quiesce(_cpu: usize) -> bool {
        for cpu in 0..CPUS {
            while enter(cpu).is_none() {
                std::thread::yield_now();
            }
        }
        true
    }
}

/// A heap over any provider and any CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Tested<P, K>(PhantomData<(P, K)>);

impl<P: PageProvider + 'static, K: Cpu> Config for Tested<P, K> {
    type Pages = P;
    type Front = Guarded<K, FastClock, CPUS>;
    type Env = FastClock;

    const LIMITS: Limits = Limits { purge_delay_ms: 40, release_delay_ms: 200, ..Limits::BALANCED };
}

/// A heap that lives as long as the test program, as heaps do.
pub fn heap<P: PageProvider, K: Cpu>(provider: P) -> &'static Heap<Tested<P, K>> {
    Box::leak(Box::new(Heap::new(provider, Guarded::new())))
}
