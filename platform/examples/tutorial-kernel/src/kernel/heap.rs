//! Steps 2 to 4 of the guide: what surrounds the heap, which CPU it runs on,
//! and the global allocator.

use granule::base::fault::Fault;
use granule::cache::guarded::Guarded;
use granule::kernel::cpu::{CpuLocal, CpuLocals, KernelCpu, PerCpu};
use granule::kernel::door::KernelHeap;
use granule::kernel::interrupts::Masked;
use granule::kernel::x86_64::InterruptFlag;
use granule::{Config, Environment};

use super::exit::{Status, exit};
use super::interrupts;
use super::pages::HeapPages;
use super::serial::say;

/// What surrounds the heap.
#[derive(Debug)]
pub(crate) struct KernelEnv;

// SAFETY: interrupts are masked while a lock is held; nothing here allocates;
// a fault ends the machine.
unsafe impl Environment for KernelEnv {
    type Exclusion = Masked<InterruptFlag>;

    fn exclude() -> Self::Exclusion {
        Masked::new()
    }

    fn wait(_spins: u32) {
        core::hint::spin_loop();
    }

    fn now_ms() -> u32 {
        interrupts::ticks()
    }

    fn fatal(fault: Fault) -> ! {
        say!("granule: {fault}");
        exit(Status::Fault)
    }
}

static LOCALS: CpuLocals<1> = CpuLocals::new();

/// The only CPU.
#[derive(Debug)]
pub(crate) struct OnlyCpu;

// SAFETY: there is one CPU, number 0, and no threads that it could switch
// between.
unsafe impl KernelCpu for OnlyCpu {
    type Pin = ();

    const CPUS: usize = 1;

    fn pin() {}

    fn local() -> Option<&'static CpuLocal> {
        LOCALS.get(0)
    }

    fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
        LOCALS.get(cpu)
    }
}

/// How the heap finds the CPU's cache.
pub(crate) type Front = Guarded<PerCpu<OnlyCpu>, KernelEnv, 1>;

/// The kernel's heap is made of this.
#[derive(Debug)]
pub(crate) struct KernelConfig;

impl Config for KernelConfig {
    type Pages = HeapPages;
    type Front = Front;
    type Env = KernelEnv;
}

/// The kernel's heap; 32 KiB serve until it is opened.
#[global_allocator]
pub(crate) static GLOBAL: KernelHeap<KernelConfig, { 32 << 10 }> =
    KernelHeap::new(HeapPages, Front::new());
