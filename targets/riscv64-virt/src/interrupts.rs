//! The interrupt controller: the CLINT, for timers and between harts. No
//! device interrupts (PLIC) are used.
//!
//! Privileged ISA 3.1.9 `mie`, 3.2.1 `mtimecmp`; SiFive FU540-C000 Manual,
//! "Core-Local Interruptor (CLINT)": a word `msip` a hart, of which bit 0 is
//! the hart's software interrupt; a `mtimecmp` of 8 bytes a hart.
//!
//! QEMU makes each node of memory a socket with a CLINT of its own, in which
//! the socket's harts count from 0 (`docs/system/riscv/virt.rst`, `hw/riscv/virt.c`).

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::cpu::{self, MAX_CPUS};
use crate::memory::BootInfo;

const CLINT: usize = 0x200_0000;
/// From a socket's CLINT to the next one's.
const SOCKET: usize = 0x1_0000;
const MTIMECMP: usize = 0x4000;

/// Where a hart finds its registers: the CLINT of its socket, and the hart's
/// number in it. Harts read it after hart 0 has started them.
struct Place {
    clint: AtomicUsize,
    index: AtomicUsize,
}

static PLACES: [Place; MAX_CPUS] =
    [const { Place { clint: AtomicUsize::new(CLINT), index: AtomicUsize::new(0) } }; MAX_CPUS];

/// Finds all harts' registers, on hart 0.
pub(crate) fn start_machine(boot: &BootInfo) {
    for (hart, place) in PLACES.iter().enumerate() {
        let node = boot.cpu_node(hart);
        let first = (0..hart).find(|&other| boot.cpu_node(other) == node).unwrap_or(hart);
        // Relaxed: others are started later, with a Release.
        place.clint.store(CLINT + SOCKET * usize::from(node), Ordering::Relaxed);
        place.index.store(hart - first, Ordering::Relaxed);
    }
}

fn msip(hart: usize) -> *mut u32 {
    let place = &PLACES[hart];
    let clint = place.clint.load(Ordering::Relaxed);
    (clint + 4 * place.index.load(Ordering::Relaxed)) as *mut u32
}

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
    let place = &PLACES[cpu::id()];
    let clint = place.clint.load(Ordering::Relaxed);
    let register = (clint + MTIMECMP + 8 * place.index.load(Ordering::Relaxed)) as *mut u64;
    // SAFETY: this hart's register of the device.
    unsafe { register.write_volatile(ticks.unwrap_or(u64::MAX)) };
}

/// Interrupts a hart, which has seen by then what this one wrote before.
pub(crate) fn send_software_interrupt(hart: usize) {
    let register = msip(hart);
    // SAFETY: a register of the device. The fence orders memory before it.
    unsafe {
        asm!("fence rw, o", options(nostack, preserves_flags));
        register.write_volatile(1);
    }
}

/// Ends the interrupt on this hart. Who sends another one from now on causes
/// another one.
pub(crate) fn clear_software_interrupt() {
    let register = msip(cpu::id());
    // SAFETY: this hart's register of the device. The fence orders it before
    // the handler's reads.
    unsafe {
        register.write_volatile(0);
        asm!("fence o, rw", options(nostack, preserves_flags));
    }
}
