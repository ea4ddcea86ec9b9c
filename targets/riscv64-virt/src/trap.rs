//! Interrupts and exceptions.
//!
//! Privileged ISA 3.1.7 `mtvec`, 3.1.15 `mcause`, 3.1.14 `mepc`, 3.1.16
//! `mtval`. Every trap saves all registers on the stack it came upon: the
//! handler is Rust code, which may use any, floating-point ones included.
//! Traps do not nest: interrupts stay masked, and an exception ends the
//! machine.

use core::arch::{asm, naked_asm};
use core::fmt;

use crate::handlers::Handler;
use crate::{cpu, exit, interrupts, output, timer};

/// `mcause`: the top bit says interrupt.
const INTERRUPT: usize = 1 << 63;
const SOFTWARE: usize = INTERRUPT | 3;
const TIMER: usize = INTERRUPT | 7;

static ON_TIMER: Handler = Handler::none();
static ON_IPI: Handler = Handler::none();

/// Calls `handler` on every core for each interrupt of its [`timer`], in the
/// interrupt.
pub fn set_timer_handler(handler: fn()) {
    ON_TIMER.set(handler);
}

/// Calls `handler` on every core for interrupts by [`ipi`](crate::ipi), in the
/// interrupt.
pub fn set_ipi_handler(handler: fn()) {
    ON_IPI.set(handler);
}

/// What [`vector`] saves: its offsets are this layout.
#[repr(C, align(16))]
struct Frame {
    /// `x0`, which stays unwritten, to `x31`.
    general: [usize; 32],
    /// `f0` to `f31`.
    float: [u64; 32],
    fcsr: usize,
}

const FRAME_BYTES: usize = size_of::<Frame>();
const FCSR: usize = core::mem::offset_of!(Frame, fcsr);

/// Where every trap begins: `mtvec` in direct mode, so it is aligned to 4. (It
/// has a section of its own, so `.balign` aligns its first instruction.)
#[unsafe(naked)]
#[unsafe(link_section = ".text.vector")]
pub(crate) unsafe extern "C" fn vector() {
    naked_asm!(
        ".balign 4",
        // Link-time optimisation forgets the target's extensions here.
        ".option push",
        ".option arch, +d",
        "addi sp, sp, -{bytes}",
        ".irp n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"sd x\n, 8*\n(sp)",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"fsd f\n, 256+8*\n(sp)",
        ".endr",
        "csrr t0, fcsr",
        "sd t0, {fcsr}(sp)",
        "addi t0, sp, {bytes}",
        "sd t0, 16(sp)",
        "mv a0, sp",
        "call {handle}",
        "ld t0, {fcsr}(sp)",
        "csrw fcsr, t0",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"fld f\n, 256+8*\n(sp)",
        ".endr",
        // Not `tp`: the core's number.
        ".irp n, 1,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"ld x\n, 8*\n(sp)",
        ".endr",
        "addi sp, sp, {bytes}",
        "mret",
        ".option pop",
        bytes = const FRAME_BYTES,
        fcsr = const FCSR,
        handle = sym handle,
    )
}

extern "C" fn handle(frame: &Frame) {
    let cause: usize;
    // SAFETY: reads a register.
    unsafe { asm!("csrr {}, mcause", out(reg) cause, options(nomem, nostack)) };
    match cause {
        TIMER => {
            timer::advance();
            ON_TIMER.call();
        }
        SOFTWARE => {
            interrupts::clear_software_interrupt();
            ON_IPI.call();
        }
        _ => report(frame, cause),
    }
}

/// Prints an exception, and ends.
fn report(frame: &Frame, cause: usize) -> ! {
    let (place, value): (usize, usize);
    // SAFETY: reads registers.
    unsafe {
        asm!("csrr {}, mepc", "csrr {}, mtval", out(reg) place, out(reg) value, options(nomem, nostack));
    }
    output::print_urgently(format_args!(
        "\nexception on core {}: {}\nmcause {cause:#x} mepc {place:#x} mtval {value:#x}\n{frame}",
        cpu::id(),
        name(cause),
    ));
    exit::exit(exit::EXCEPTION)
}

/// Privileged ISA 3.1.15, table of `mcause`.
fn name(cause: usize) -> &'static str {
    match cause {
        0 => "misaligned jump",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "misaligned load",
        5 => "load access fault",
        6 => "misaligned store",
        7 => "store access fault",
        8 | 9 | 11 => "environment call",
        12 => "instruction page fault",
        13 => "load page fault",
        15 => "store page fault",
        _ => "unknown",
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in self.general.iter().enumerate().skip(1) {
            let end = if number % 4 == 3 { '\n' } else { ' ' };
            write!(f, "x{number:<2} {value:016x}{end}")?;
        }
        Ok(())
    }
}
