//! Interrupts and exceptions.
//!
//! Arm ARM, "Exception vectors": 16 entries of 128 bytes, by where the
//! exception came from and its kind; `ESR_EL1` says why.
//! Every trap saves all registers on the stack it came upon: the handler is
//! Rust code, which may use any, floating-point ones included. (A callee keeps
//! only half of `v8` to `v15`.) Traps do not nest: interrupts stay masked, and
//! an exception ends the machine.

use core::arch::{asm, naked_asm};
use core::fmt;

use crate::handlers::Handler;
use crate::{cpu, exit, interrupts, output, timer};

/// The vector's number of an interrupt at EL1 with its own stack pointer.
const IRQ: usize = 5;

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

/// What [`save`] saves: its offsets are this layout.
#[repr(C, align(16))]
struct Frame {
    /// `x0` to `x30`, and the stack pointer.
    general: [usize; 32],
    /// `q0` to `q31`.
    vectors: [u128; 32],
    fpcr: usize,
    fpsr: usize,
}

const FRAME_BYTES: usize = size_of::<Frame>();
const FPCR: usize = core::mem::offset_of!(Frame, fpcr);

/// Where every trap begins: `VBAR_EL1`, so it is aligned to 2 KiB. (It has a
/// section of its own, so `.balign` aligns its first instruction.)
#[unsafe(naked)]
#[unsafe(link_section = ".text.vectors")]
pub(crate) unsafe extern "C" fn vectors() {
    naked_asm!(
        ".balign 2048",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        ".balign 128",
        "sub sp, sp, #{bytes}",
        "stp x0, x1, [sp]",
        r"mov x0, #\n",
        "b {save}",
        ".endr",
        bytes = const FRAME_BYTES,
        save = sym save,
    )
}

/// Saves what is left, and calls [`handle`] with the vector's number.
#[unsafe(naked)]
unsafe extern "C" fn save() {
    naked_asm!(
        ".irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
        r"str x\n, [sp, #8*\n]",
        ".endr",
        "add x1, sp, #{bytes}",
        "str x1, [sp, #8*31]",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"str q\n, [sp, #256+16*\n]",
        ".endr",
        "mrs x1, fpcr",
        "mrs x2, fpsr",
        "add x3, sp, #{fpcr}",
        "stp x1, x2, [x3]",
        "mov x1, sp",
        "bl {handle}",
        "add x3, sp, #{fpcr}",
        "ldp x1, x2, [x3]",
        "msr fpcr, x1",
        "msr fpsr, x2",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        r"ldr q\n, [sp, #256+16*\n]",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
        r"ldr x\n, [sp, #8*\n]",
        ".endr",
        "add sp, sp, #{bytes}",
        "eret",
        bytes = const FRAME_BYTES,
        fpcr = const FPCR,
        handle = sym handle,
    )
}

extern "C" fn handle(vector: usize, frame: &Frame) {
    if vector != IRQ {
        report(frame, vector);
    }
    let (interrupt, token) = interrupts::acknowledge();
    match interrupt {
        interrupts::TIMER => {
            timer::advance();
            ON_TIMER.call();
        }
        interrupts::SOFTWARE => ON_IPI.call(),
        // Spurious: nothing to do, and nothing to complete.
        _ => return,
    }
    interrupts::complete(token);
}

/// Prints an exception, and ends.
fn report(frame: &Frame, vector: usize) -> ! {
    let (syndrome, place, address): (usize, usize, usize);
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mrs {}, esr_el1", "mrs {}, elr_el1", "mrs {}, far_el1",
            out(reg) syndrome, out(reg) place, out(reg) address,
            options(nomem, nostack),
        );
    }
    output::print_urgently(format_args!(
        "\nexception on core {}: {} (vector {vector})\n\
         esr {syndrome:#x} elr {place:#x} far {address:#x}\n{frame}",
        cpu::id(),
        name(syndrome >> 26),
    ));
    exit::exit(exit::EXCEPTION)
}

/// Arm ARM, `ESR_EL1.EC`.
fn name(class: usize) -> &'static str {
    match class {
        0x07 => "floating point is off",
        0x0e => "illegal state",
        0x15 => "system call",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned jump",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned stack pointer",
        0x2f => "SError",
        0x3c => "breakpoint",
        _ => "unknown",
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in self.general.iter().enumerate() {
            let end = if number % 4 == 3 { '\n' } else { ' ' };
            write!(f, "x{number:<2} {value:016x}{end}")?;
        }
        Ok(())
    }
}
