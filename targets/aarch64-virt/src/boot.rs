//! From the first instruction to the kernel's main function.
//!
//! QEMU (`docs/system/arm/virt.rst`, `hw/arm/boot.c`) starts core 0 at the
//! ELF's entry, at EL1, with the MMU off and interrupts masked, and puts the
//! device tree at the start of RAM if there is room below the image. The other
//! cores are off until [`smp::start`] asks the firmware (PSCI) for them.
//!
//! ```text
//! _start ───────── registers, stack ─ clear .bss ─ start::first ─ kernel's main
//! start_secondary  registers, stack ─ smp::begin ─ smp::start's function
//! ```

use core::arch::naked_asm;

use crate::cpu::{MAX_CPUS, STACK_BYTES};
use crate::{smp, start, trap};

/// Where RAM starts, and the device tree lies.
pub const RAM_START: usize = 0x4000_0000;

/// `CPACR_EL1.FPEN`: floating-point instructions work. Rust code uses them to
/// copy, so nothing runs before this.
const CPACR_FPEN: usize = 0b11 << 20;

/// The first instruction of core 0.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "bl {registers}",
        "adrp x1, __bss_start",
        "add x1, x1, :lo12:__bss_start",
        "adrp x2, __bss_end",
        "add x2, x2, :lo12:__bss_end",
        "1: cmp x1, x2",
        "b.hs 2f",
        "str xzr, [x1], #8",
        "b 1b",
        "2: mov x0, {ram}",
        "b {first}",
        registers = sym registers,
        ram = const RAM_START,
        first = sym start::first,
    )
}

/// The first instruction of any other core; `x0` is what
/// [`smp::start`](crate::smp::start) gave PSCI.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn start_secondary() -> ! {
    naked_asm!("bl {registers}", "b {begin}", registers = sym registers, begin = sym smp::begin)
}

/// Sets the registers that Rust code needs, and the stack. Changes `x1` and
/// `x2` alone.
#[unsafe(naked)]
unsafe extern "C" fn registers() {
    naked_asm!(
        "msr daifset, #0b1111",
        "mov x1, {fpen}",
        "msr cpacr_el1, x1",
        "adrp x1, {vectors}",
        "add x1, x1, :lo12:{vectors}",
        "msr vbar_el1, x1",
        "isb",
        // The core's number, and a stack if there is one for it.
        "mrs x1, mpidr_el1",
        "and x1, x1, #0xff",
        "msr tpidr_el1, x1",
        "1: cmp x1, {cpus}",
        "b.lo 2f",
        "wfi",
        "b 1b",
        "2: msr spsel, #1",
        "add x1, x1, #1",
        "mov x2, {stack}",
        "mul x1, x1, x2",
        "adrp x2, __stacks_start",
        "add x2, x2, :lo12:__stacks_start",
        "add sp, x1, x2",
        "ret",
        fpen = const CPACR_FPEN,
        vectors = sym trap::vectors,
        cpus = const MAX_CPUS,
        stack = const STACK_BYTES,
    )
}
