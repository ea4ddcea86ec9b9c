//! RISC-V: hart numbers, words of a hart, interrupt masks. (The RISC-V Instruction Set
//! Manual, volume II: `mstatus`, `sstatus`, `mhartid`, `mscratch`, `sscratch`.)

use core::arch::asm;

use super::interrupts::Interrupts;

/// The hart's number, where the kernel keeps it in `tp` and nothing else uses
/// that: one instruction.
#[inline(always)]
#[must_use]
pub fn hart_in_tp() -> usize {
    let number;
    // SAFETY: reads a register. Not `pure`: a thread that moves to another
    // hart finds another value.
    unsafe { asm!("mv {}, tp", out(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// The hart's number, where a supervisor keeps it in `sscratch`.
#[inline(always)]
#[must_use]
pub fn hart_in_sscratch() -> usize {
    let number;
    // SAFETY: reads a register of the supervisor's, which the caller is.
    unsafe { asm!("csrr {}, sscratch", out(reg) number, options(nomem, nostack)) };
    number
}

/// The hart's number in machine mode, from the hart itself.
#[inline(always)]
#[must_use]
pub fn hart_in_mhartid() -> usize {
    let number;
    // SAFETY: reads a register of machine mode, which the caller is in.
    unsafe { asm!("csrr {}, mhartid", out(reg) number, options(nomem, nostack)) };
    number
}

/// The word that a kernel in machine mode keeps in `mscratch` where its traps
/// do not need that: the address of its [`CpuLocal`](super::cpu::CpuLocal), or
/// 0 before there is one.
#[inline(always)]
#[must_use]
pub fn word_in_mscratch() -> usize {
    let word;
    // SAFETY: reads a register of machine mode, which the caller is in.
    unsafe { asm!("csrr {}, mscratch", out(reg) word, options(nomem, nostack)) };
    word
}

/// Writes [`word_in_mscratch`] of this hart.
///
/// # Safety
///
/// Caller: nothing else uses the register.
pub unsafe fn set_word_in_mscratch(word: usize) {
    // SAFETY: by the contract.
    unsafe { asm!("csrw mscratch, {}", in(reg) word, options(nostack)) };
}

/// Interrupts of a kernel in machine mode: `mstatus.MIE`.
#[derive(Debug)]
pub struct MachineMode;

/// Interrupts of a kernel in supervisor mode: `sstatus.SIE`.
#[derive(Debug)]
pub struct SupervisorMode;

/// `mstatus.MIE`.
const MIE: usize = 1 << 3;
/// `sstatus.SIE`.
const SIE: usize = 1 << 1;

// SAFETY: the bit is cleared and set again, if it was set, by one instruction
// each; neither is `nomem`.
unsafe impl Interrupts for MachineMode {
    type State = usize;

    #[inline(always)]
    fn mask() -> usize {
        let before: usize;
        // SAFETY: clears the interrupt bit alone.
        unsafe { asm!("csrrci {}, mstatus, 8", out(reg) before, options(nostack)) };
        before & MIE
    }

    #[inline(always)]
    unsafe fn restore(state: usize) {
        // SAFETY: sets no other bit.
        unsafe { asm!("csrs mstatus, {}", in(reg) state, options(nostack)) };
    }
}

// SAFETY: as for `MachineMode`.
unsafe impl Interrupts for SupervisorMode {
    type State = usize;

    #[inline(always)]
    fn mask() -> usize {
        let before: usize;
        // SAFETY: clears the interrupt bit alone.
        unsafe { asm!("csrrci {}, sstatus, 2", out(reg) before, options(nostack)) };
        before & SIE
    }

    #[inline(always)]
    unsafe fn restore(state: usize) {
        // SAFETY: sets no other bit.
        unsafe { asm!("csrs sstatus, {}", in(reg) state, options(nostack)) };
    }
}
