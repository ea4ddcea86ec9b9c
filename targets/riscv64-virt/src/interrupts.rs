//! The interrupt controller: the CLINT, for timers and between harts. No
//! device interrupts (PLIC) are used.
//!
//! Privileged ISA 3.1.9 `mie`, 3.2.1 `mtimecmp`; SiFive FU540-C000 Manual,
//! "Core-Local Interruptor (CLINT)": a word `msip` a hart, of which bit 0 is
//! the hart's software interrupt; a `mtimecmp` of 8 bytes a hart.

use core::arch::asm;

use crate::cpu;

const CLINT: usize = 0x200_0000;
const MSIP: usize = CLINT;
const MTIMECMP: usize = CLINT + 0x4000;

/// `mie.MSIE`: software interrupts.
pub(crate) const MSIE: usize = 1 << 3;
/// `mie.MTIE`: timer interrupts.
const MTIE: usize = 1 << 7;

/// No timer, and no other cause of interrupts, until somebody asks.
pub(crate) fn start_core() {
    set_deadline(None);
    clear_software_interrupt();
    // SAFETY: enables two causes, both of which `trap` handles.
    unsafe { asm!("csrs mie, {}", in(reg) MSIE | MTIE, options(nostack)) };
}

/// Interrupts this hart as soon as the clock shows `ticks`; or never.
pub(crate) fn set_deadline(ticks: Option<u64>) {
    let register = (MTIMECMP + 8 * cpu::id()) as *mut u64;
    // SAFETY: this hart's register of the device.
    unsafe { register.write_volatile(ticks.unwrap_or(u64::MAX)) };
}

/// Interrupts a hart, which has seen by then what this one wrote before.
pub(crate) fn send_software_interrupt(hart: usize) {
    let register = (MSIP + 4 * hart) as *mut u32;
    // SAFETY: a register of the device. The fence orders memory before it.
    unsafe {
        asm!("fence rw, o", options(nostack, preserves_flags));
        register.write_volatile(1);
    }
}

/// Ends the interrupt on this hart. Who sends another one from now on causes
/// another one.
pub(crate) fn clear_software_interrupt() {
    let register = (MSIP + 4 * cpu::id()) as *mut u32;
    // SAFETY: this hart's register of the device. The fence orders it before
    // the handler's reads.
    unsafe {
        register.write_volatile(0);
        asm!("fence o, rw", options(nostack, preserves_flags));
    }
}
