//! The interrupt controller: a GIC of version 2, for timers and between cores.
//! No device interrupts are used.
//!
//! ARM Generic Interrupt Controller Architecture Specification, version 2.0:
//! 4.3 distributor, 4.4 CPU interface. Interrupts 0 to 15 are software's
//! (SGI), 16 to 31 a core's own (PPI); their registers exist once a core. The
//! timer: Arm ARM, "The Generic Timer", `CNTV_CTL_EL0` and `CNTV_CVAL_EL0`.

use core::arch::asm;

const GICD: usize = 0x0800_0000;
const GICD_CTLR: usize = GICD;
const GICD_ISENABLER0: usize = GICD + 0x100;
const GICD_SGIR: usize = GICD + 0xf00;

const GICC: usize = 0x0801_0000;
const GICC_CTLR: usize = GICC;
/// Interrupts of lower priority, which is a higher number, are not taken.
const GICC_PMR: usize = GICC + 0x4;
const GICC_IAR: usize = GICC + 0xc;
const GICC_EOIR: usize = GICC + 0x10;

const ENABLE: u32 = 1;

/// The SGI that cores send each other.
pub(crate) const SOFTWARE: u32 = 0;
/// The PPI of the virtual timer.
pub(crate) const TIMER: u32 = 27;

/// On every core.
pub(crate) fn start_core() {
    set_deadline(None);
    write(GICD_CTLR, ENABLE); // The same for all: once would do.
    write(GICD_ISENABLER0, 1 << SOFTWARE | 1 << TIMER);
    write(GICC_PMR, 0xff);
    write(GICC_CTLR, ENABLE);
}

/// The interrupt to be handled, and what [`complete`] wants to hear; 1022 and
/// above if there is none.
pub(crate) fn acknowledge() -> (u32, u32) {
    // SAFETY: this core's register of the device.
    let token = unsafe { (GICC_IAR as *const u32).read_volatile() };
    // SAFETY: orders it before what the handler reads.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    (token & 0x3ff, token)
}

/// Lets the next interrupt come.
pub(crate) fn complete(token: u32) {
    write(GICC_EOIR, token);
}

/// Interrupts this core as soon as the clock shows `ticks`; or never.
pub(crate) fn set_deadline(ticks: Option<u64>) {
    // SAFETY: this core's timer, which only this crate uses.
    unsafe {
        asm!(
            "msr cntv_cval_el0, {deadline}",
            "msr cntv_ctl_el0, {control}",
            "isb",
            deadline = in(reg) ticks.unwrap_or(u64::MAX),
            control = in(reg) u64::from(ticks.is_some()),
            options(nostack),
        );
    }
}

/// Interrupts a core, which has seen by then what this one wrote before.
pub(crate) fn send_software_interrupt(core: usize) {
    write(GICD_SGIR, 1 << (16 + core) | SOFTWARE);
}

/// Writes a register, after everything that was written before.
fn write(register: usize, value: u32) {
    // SAFETY: a register of the device; each of them takes any value here.
    unsafe {
        asm!("dsb sy", options(nostack, preserves_flags));
        (register as *mut u32).write_volatile(value);
    }
}
