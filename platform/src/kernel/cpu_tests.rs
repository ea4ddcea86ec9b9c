//! CPUs that are threads: entries, answers, and draining those that run.

extern crate std;

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::vec::Vec;

use granule_core::cache::guarded::Guarded;
use granule_core::heap::DrainError;
use granule_core::{Config, Heap};

use super::*;

const CPUS: usize = 4;

/// A thread that is no CPU.
const NONE: usize = CPUS;

std::thread_local! {
    static CPU: Cell<usize> = const { Cell::new(NONE) };
}

/// Declares a set of CPUs, so that tests do not share any.
macro_rules! cpus {
    ($name:ident, $locals:ident, $pending:ident) => {
        static $locals: CpuLocals<CPUS> = CpuLocals::new();
        static $pending: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];

        #[derive(Debug)]
        struct $name;

        // SAFETY: one thread has a number; the lock of threads' switches is
        // the scheduler's.
        unsafe impl KernelCpu for $name {
            type Pin = ();

            fn pin() {}

            fn local() -> Option<&'static CpuLocal> {
                $locals.get(CPU.get())
            }

            fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
                $locals.get(cpu)
            }

            fn interrupt(cpu: usize) -> bool {
                $pending[cpu].store(true, Ordering::Release);
                std::thread::yield_now();
                true
            }
        }
    };
}

#[test]
fn entries_do_not_nest_and_end() {
    cpus!(Here, LOCALS, PENDING);
    assert!(PerCpu::<Here>::try_enter().is_none(), "no CPU, no entry");
    CPU.set(2);
    {
        let entered = PerCpu::<Here>::try_enter();
        assert!(entered.as_ref().is_some_and(|(number, _)| *number == 2));
        assert!(PerCpu::<Here>::try_enter().is_none(), "on top of another");
        assert!(!PerCpu::<Here>::quiesce(1), "an entry cannot wait for others");
        CPU.set(3);
        assert!(PerCpu::<Here>::try_enter().is_some(), "another CPU is free");
        CPU.set(2);
    }
    assert!(PerCpu::<Here>::try_enter().is_some());
    // Its own questions are answered while it waits.
    assert!(PerCpu::<Here>::quiesce(2));
    assert!(!PerCpu::<Here>::quiesce(CPUS), "no such CPU");
    assert!(!PENDING.iter().all(|pending| pending.load(Ordering::Relaxed)));
}

#[test]
fn a_cpu_that_does_not_answer_is_given_up_and_one_that_left_is_not_waited_for() {
    cpus!(Here, LOCALS, PENDING);
    CPU.set(0);
    assert!(!PerCpu::<Here>::quiesce(1), "nobody is there to answer");
    let other = LOCALS.get(1).expect("there");
    other.leave();
    assert!(PerCpu::<Here>::quiesce(1));
    CPU.set(1);
    assert!(PerCpu::<Here>::try_enter().is_none(), "it has left");
    other.enter();
    assert!(PerCpu::<Here>::try_enter().is_some());
}

cpus!(Worked, WORKED, WORK);

impl Worked {
    /// Takes the interrupt, if there is one.
    fn poll() {
        if let Some(local) = WORKED.get(CPU.get())
            && WORK[CPU.get()].swap(false, Ordering::Acquire)
        {
            local.answer();
        }
    }
}

#[derive(Debug)]
struct Working;

impl Config for Working {
    type Pages = crate::HostPages;
    type Front = Guarded<PerCpu<Worked>, crate::HostEnv, CPUS>;
    type Env = crate::HostEnv;
}

/// Three CPUs work; a fourth drains them over and over.
#[test]
fn running_cpus_are_drained_and_nothing_is_lost() {
    static HEAP: Heap<Working> = Heap::new(crate::HostPages::new(), Guarded::new());
    static LEFT: AtomicUsize = AtomicUsize::new(CPUS - 1);
    assert_eq!(HEAP.drain_cpu(CPUS), Err(DrainError::NoSuchCpu));
    assert_eq!(HEAP.drain_cpu(1), Ok(()), "a CPU without a cache is drained");

    let work = |cpu: usize| {
        CPU.set(cpu);
        let mut blocks: Vec<(NonNull<u8>, Layout)> = Vec::new();
        let mut random = cpu as u64 + 1;
        for turn in 0..60_000usize {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = (random >> 33) as usize;
            if blocks.len() < 200 && roll % 5 < 3 {
                let layout = Layout::from_size_align(8 + roll % 900, 8).expect("a layout");
                let block = NonNull::new(HEAP.alloc(layout)).expect("memory");
                // SAFETY: ours, that large.
                unsafe { block.write_bytes(cpu as u8, layout.size()) };
                blocks.push((block, layout));
            } else if !blocks.is_empty() {
                let (block, layout) = blocks.swap_remove(roll % blocks.len());
                // SAFETY: ours, that large.
                let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), layout.size()) };
                assert!(bytes.iter().all(|&byte| byte == cpu as u8), "turn {turn}");
                // SAFETY: live, of that layout.
                unsafe { HEAP.dealloc(block, layout) };
            }
            Worked::poll();
        }
        for (block, layout) in blocks {
            // SAFETY: live, of that layout.
            unsafe { HEAP.dealloc(block, layout) };
        }
        WORKED.get(cpu).expect("there").leave();
        LEFT.fetch_sub(1, Ordering::Release);
    };
    let drained = std::thread::scope(|scope| {
        for cpu in 1..CPUS {
            scope.spawn(move || work(cpu));
        }
        CPU.set(0);
        let mut drained = 0;
        while LEFT.load(Ordering::Acquire) > 0 {
            drained += (1..CPUS).filter(|&cpu| HEAP.drain_cpu(cpu).is_ok()).count();
        }
        drained
    });
    assert!(drained > 10, "{drained}");
    for cpu in 1..CPUS {
        assert_eq!(HEAP.drain_cpu(cpu), Ok(()), "it has left");
        let stats = HEAP.cpu_stats(cpu).expect("it had a cache");
        assert_eq!(stats.cached_bytes, 0);
        assert!(stats.refills > 0);
    }
    HEAP.reclaim();
    assert_eq!(HEAP.stats().live_bytes(), 0);
}
