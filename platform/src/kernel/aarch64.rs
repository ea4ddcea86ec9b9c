//! ARM64: core numbers, words of a core, interrupt masks. (Arm Architecture Reference Manual
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

/// The word that a kernel keeps in `TPIDRRO_EL0`, which user code can only
/// read: the address of its [`CpuLocal`](super::cpu::CpuLocal), or 0 before
/// there is one.
#[inline(always)]
#[must_use]
pub fn word_in_tpidrro() -> usize {
    let word;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, tpidrro_el0", out(reg) word, options(nomem, nostack, preserves_flags)) };
    word
}

/// Writes [`word_in_tpidrro`] of this core.
///
/// # Safety
///
/// Caller: nothing else uses the register.
pub unsafe fn set_word_in_tpidrro(word: usize) {
    // SAFETY: by the contract.
    unsafe { asm!("msr tpidrro_el0, {}", in(reg) word, options(nostack, preserves_flags)) };
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
