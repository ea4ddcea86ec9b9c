//! ARM64: core numbers and interrupt masks. (Arm Architecture Reference Manual
//! for A-profile: `TPIDR_EL1`, `MPIDR_EL1`, `DAIF`.)

use core::arch::asm;

use super::interrupts::Interrupts;

/// The core's number, where the kernel keeps it in `TPIDR_EL1`.
#[inline(always)]
#[must_use]
pub fn core_in_tpidr() -> usize {
    let number;
    // SAFETY: reads a register of EL1, where the caller is. Not `pure`: a
    // thread that moves to another core finds another value.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// The core's number on machines of one cluster: the lowest affinity of
/// `MPIDR_EL1`.
#[inline(always)]
#[must_use]
pub fn core_in_mpidr() -> usize {
    let affinity: usize;
    // SAFETY: reads a register of EL1, where the caller is.
    unsafe {
        asm!("mrs {}, mpidr_el1", out(reg) affinity, options(nomem, nostack, preserves_flags));
    };
    affinity & 0xff
}

/// Interrupts of a kernel at EL1: `DAIF.I` and `DAIF.F`.
#[derive(Debug)]
pub struct Irq;

// SAFETY: both bits are set, and put back as they were; neither is `nomem`.
unsafe impl Interrupts for Irq {
    type State = usize;

    #[inline(always)]
    fn mask() -> usize {
        let before;
        // SAFETY: masks interrupts, nothing else.
        unsafe { asm!("mrs {}, daif", "msr daifset, #3", out(reg) before, options(nostack)) };
        before
    }

    #[inline(always)]
    unsafe fn restore(state: usize) {
        // SAFETY: what `mask` read.
        unsafe { asm!("msr daif, {}", in(reg) state, options(nostack)) };
    }
}
