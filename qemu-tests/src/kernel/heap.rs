//! The kernel's heap: what a kernel has to write to use granule.

use granule::base::fault::Fault;
use granule::cache::guarded::Guarded;
use granule::kernel::cpu::{CpuLocal, CpuLocals, KernelCpu, PerCpu};
use granule::kernel::door::KernelHeap;
use granule::kernel::frames::{FramePages, Frames};
use granule::kernel::front::InLocals;
use granule::kernel::interrupts::Masked;
use granule::provider::Node;
use granule::{Config, Environment};

use super::text::say;
use super::{clock, exit, memory};

#[cfg(target_arch = "aarch64")]
use granule::kernel::aarch64::{Irq, set_word_in_tpidrro as set_word, word_in_tpidrro as word};
#[cfg(target_arch = "riscv64")]
use granule::kernel::riscv::{
    MachineMode as Irq, set_word_in_mscratch as set_word, word_in_mscratch as word,
};

/// Most cores that the machines have.
pub(crate) const CPUS: usize = 8;
/// Most banks of memory, after holes are punched.
pub(crate) const BANKS: usize = 8;
/// Bytes of the early heap.
const EARLY: usize = 32 << 10;

/// What the heap keeps of each core.
pub(crate) static LOCALS: CpuLocals<CPUS> = CpuLocals::new();

/// How the heap finds the core it runs on.
#[derive(Debug)]
pub(crate) struct Here;

// SAFETY: each core's register holds its own local's address from `present`
// on, and 0 before; this kernel switches between no threads.
unsafe impl KernelCpu for Here {
    type Pin = ();

    const CPUS: usize = CPUS;

    #[inline(always)]
    fn pin() {}

    #[inline(always)]
    fn local() -> Option<&'static CpuLocal> {
        // SAFETY: written by `present` alone.
        unsafe { CpuLocal::from_word(word()) }
    }

    fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
        LOCALS.get(cpu)
    }

    fn node() -> Node {
        memory::node()
    }

    fn interrupt(cpu: usize) -> bool {
        machine::ipi::send(cpu);
        true
    }
}

/// To be called on each core before it uses the heap: without, it would have
/// no cache.
pub(crate) fn present() {
    if let Some(local) = LOCALS.get(machine::cpu::id()) {
        // SAFETY: the machines leave the register alone.
        unsafe { set_word(local.word()) };
    }
}

/// To be called by the handler of interrupts between cores.
pub(crate) fn answer() {
    if let Some(local) = Here::local() {
        local.answer();
    }
}

/// What surrounds the heap.
#[derive(Debug)]
pub(crate) struct KernelEnv;

// SAFETY: interrupts are masked while a lock is held; nothing here allocates;
// a fault ends the machine.
unsafe impl Environment for KernelEnv {
    type Exclusion = Masked<Irq>;

    fn exclude() -> Masked<Irq> {
        Masked::new()
    }

    fn wait(_spins: u32) {
        machine::cpu::relax();
    }

    fn now_ms() -> u32 {
        clock::millis() as u32
    }

    fn fatal(fault: Fault) -> ! {
        say!("granule: {fault}");
        machine::exit(exit::FAULT)
    }
}

/// The machine's page frames.
pub(crate) static FRAMES: Frames<KernelEnv, BANKS> = Frames::new();

/// The front end of the cases' heaps: a cache per core.
pub(crate) type Front = Guarded<PerCpu<Here>, KernelEnv, CPUS>;

/// That of the kernel's own heap: the caches are found in the locals.
pub(crate) type KernelFront = InLocals<Here, KernelEnv>;

/// The kernel's heap is made of this.
#[derive(Debug)]
pub(crate) struct KernelConfig;

impl Config for KernelConfig {
    type Pages = FramePages<KernelEnv, BANKS>;
    type Front = KernelFront;
    type Env = KernelEnv;

    // The core's limits. A quarter of the stash was measured to take half of
    // the speed, and on four cores two thirds.
}

/// The kernel's heap.
#[global_allocator]
pub(crate) static GLOBAL: KernelHeap<KernelConfig, EARLY> =
    // SAFETY: the only such front end.
    KernelHeap::new(FramePages::new(&FRAMES), unsafe { KernelFront::new() });
