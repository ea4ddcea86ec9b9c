//! From the first instruction to the kernel's main function.
//!
//! Privileged ISA 3.4 "Reset": a hart starts in machine mode, `MIE` and `MPRV`
//! clear. QEMU's reset code jumps to the start of RAM on every hart at once,
//! its number in `a0` (and `mhartid`), the device tree's address in `a1`. Hart
//! 0 always exists, so it is the one that boots; the others park in [`smp`].
//!
//! ```text
//! _start ─ registers, stack ┬ hart 0: clear .bss ─ start::first ─ kernel's main
//!                           └ others: smp::park ─ smp::start's function
//! ```

use core::arch::naked_asm;

use crate::cpu::{MAX_CPUS, STACK_BYTES};
use crate::{smp, start, trap};

/// Where RAM starts, and the kernel lies.
pub const RAM_START: usize = 0x8000_0000;

/// `mstatus.FS` = Initial: floating-point instructions work.
const MSTATUS_FS_INITIAL: usize = 1 << 13;
/// `pmpcfg0`: one region by power of two (NAPOT); read, write, execute.
/// Without it supervisor mode, as which `paging` accesses data, has no memory.
const PMP_ALL: usize = 0b11 << 3 | 0b111;

/// The first instruction of every hart.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.entry")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        // Link-time optimisation forgets the target's extensions here.
        ".option push",
        ".option arch, +m, +d",
        "csrw mie, zero",
        "la t0, {vector}",
        "csrw mtvec, t0",
        "li t0, {fs}",
        "csrs mstatus, t0",
        "csrw fcsr, zero",
        "li t0, -1",
        "csrw pmpaddr0, t0",
        "li t0, {pmp}",
        "csrw pmpcfg0, t0",
        // The CPU's number, and a stack if there is one for it.
        "csrr tp, mhartid",
        "li t0, {cpus}",
        "1: bltu tp, t0, 2f",
        "wfi",
        "j 1b",
        "2:",
        "la sp, __stacks_start",
        "li t0, {stack}",
        "addi t1, tp, 1",
        "mul t0, t0, t1",
        "add sp, sp, t0",
        "bnez tp, 5f",
        // Hart 0.
        "la t0, __bss_start",
        "la t1, __bss_end",
        "3: bgeu t0, t1, 4f",
        "sd zero, 0(t0)",
        "addi t0, t0, 8",
        "j 3b",
        "4: mv a0, a1",
        "tail {first}",
        // The others.
        "5: tail {park}",
        ".option pop",
        vector = sym trap::vector,
        fs = const MSTATUS_FS_INITIAL,
        pmp = const PMP_ALL,
        cpus = const MAX_CPUS,
        stack = const STACK_BYTES,
        first = sym start::first,
        park = sym smp::park,
    )
}
