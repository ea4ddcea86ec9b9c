//! The core: its number, its interrupt mask, its clock and its counters.
//!
//! Arm ARM, "AArch64 System Register Descriptions": `DAIF`, `MPIDR_EL1`,
//! `TPIDR_EL1`; "The Generic Timer"; "The Performance Monitors Extension".
//!
//! Counters under QEMU 7.2: `PMCCNTR_EL0` counts virtual nanoseconds. With
//! `-icount shift=0`, each executed instruction (of any core: they take turns)
//! makes one. It is exact, and the same in every run, as long as no core waits
//! for an interrupt in between: while all of them wait, virtual time jumps.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

pub use granule::kernel::aarch64::{Irq as Interrupts, core_in_tpidr as id};
use granule::kernel::interrupts::Masked;

use crate::memory::BootInfo;

/// As many cores as there are stacks; `link.ld` has it, too.
pub const MAX_CPUS: usize = 8;
/// The stack of each core; `link.ld` has it, too.
pub const STACK_BYTES: usize = 64 << 10;

/// `PMCR_EL0`: counters on (`E`), the cycle counter of 64 bits (`LC`).
const PMCR_E_LC: usize = 1 << 0 | 1 << 6;
/// `PMCNTENSET_EL0`: the cycle counter.
const PMCNTENSET_CYCLES: usize = 1 << 31;

// Relaxed: written before other cores start, and constant from then on.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Keeps what the device tree says, on core 0.
pub(crate) fn start_machine(boot: &BootInfo) {
    COUNT.store(boot.cpus(), Ordering::Relaxed);
    start_core();
}

/// Starts this core's [`instructions`].
pub(crate) fn start_core() {
    // SAFETY: the counter of this core, which nobody else uses.
    unsafe {
        asm!(
            "msr pmccfiltr_el0, xzr",
            "msr pmcntenset_el0, {cycles}",
            "msr pmcr_el0, {control}",
            "isb",
            cycles = in(reg) PMCNTENSET_CYCLES,
            control = in(reg) PMCR_E_LC,
            options(nostack),
        );
    }
}

/// How many cores the machine has.
#[must_use]
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Masks interrupts on this core until the value is dropped.
#[inline]
pub fn mask() -> Masked<Interrupts> {
    Masked::new()
}

/// Lets interrupts come on this core, which starts with them masked.
pub fn enable() {
    // SAFETY: changes no other bit; the vectors are set since the first
    // instructions.
    unsafe { asm!("msr daifclr, #0b0011", options(nostack)) };
}

/// Waits until an interrupt is pending; masked ones count, too, but are not
/// taken. May return early.
pub fn wait_for_interrupt() {
    // SAFETY: has no effect on memory; without `nomem` it stays in its place.
    unsafe { asm!("wfi", options(nostack, preserves_flags)) };
}

/// For loops that wait for another core.
#[inline]
pub fn relax() {
    core::hint::spin_loop();
}

/// Instructions executed, from some start; see the top of this file.
#[inline]
#[must_use]
pub fn instructions() -> u64 {
    let count;
    // SAFETY: reads a counter. Not `nomem`: accesses stay on their side.
    unsafe {
        asm!("isb", "mrs {}, pmccntr_el0", out(reg) count, options(nostack, preserves_flags));
    }
    count
}

/// The machine's clock, the same on all cores: [`tick_hz`] a second.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    let now;
    // SAFETY: reads the clock. Not `nomem`: accesses stay on their side.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) now, options(nostack, preserves_flags)) };
    now
}

/// Ticks a second.
#[must_use]
pub fn tick_hz() -> u64 {
    let hz;
    // SAFETY: reads a register that firmware has set.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    hz
}
