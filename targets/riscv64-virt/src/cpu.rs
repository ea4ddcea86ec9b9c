//! The hart: its number, its interrupt mask, its clock and its counters.
//!
//! Privileged ISA 3.1.6.1 `mstatus.MIE`, 3.1.10 `minstret`, 3.2.1 `mtime`
//! (which `time` shows), 3.3.3 `wfi`.
//!
//! Counters under QEMU 7.2: without `-icount`, `minstret` is the host's clock
//! in disguise. With `-icount shift=0`, it is the machine's virtual
//! nanoseconds, of which each executed instruction (of any core: they take
//! turns) makes one. It is exact, and the same in every run, as long as no
//! core waits for an interrupt in between: while all of them wait, virtual
//! time jumps.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use granule::kernel::interrupts::Masked;
pub use granule::kernel::riscv::{MachineMode as Interrupts, hart_in_tp as id};

use crate::interrupts;
use crate::memory::BootInfo;

/// As many cores as there are stacks; `link.ld` has it, too.
pub const MAX_CPUS: usize = 8;
/// The stack of each core; `link.ld` has it, too.
pub const STACK_BYTES: usize = 64 << 10;

/// `mstatus.MIE`.
const MIE: usize = 1 << 3;

// Relaxed: written before other cores start, and constant from then on.
static COUNT: AtomicUsize = AtomicUsize::new(1);
static TICK_HZ: AtomicU64 = AtomicU64::new(10_000_000);

/// Keeps what the device tree says, on core 0.
pub(crate) fn start_machine(boot: &BootInfo) {
    COUNT.store(boot.cpus(), Ordering::Relaxed);
    if let Some(hz) = boot.timebase_hz() {
        TICK_HZ.store(hz.into(), Ordering::Relaxed);
    }
    interrupts::start_machine(boot);
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
    // SAFETY: sets no other bit; the vector is set since the first instruction.
    unsafe { asm!("csrs mstatus, {}", in(reg) MIE, options(nostack)) };
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
    unsafe { asm!("csrr {}, minstret", out(reg) count, options(nostack, preserves_flags)) };
    count
}

/// The machine's clock, the same on all cores: [`tick_hz`] a second.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    let now;
    // SAFETY: reads the clock. Not `nomem`: accesses stay on their side.
    unsafe { asm!("csrr {}, time", out(reg) now, options(nostack, preserves_flags)) };
    now
}

/// Ticks a second.
#[must_use]
pub fn tick_hz() -> u64 {
    TICK_HZ.load(Ordering::Relaxed)
}
