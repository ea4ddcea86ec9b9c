//! Exceptions, which end the machine, and a timer of 1 kHz.
//!
//! Handlers are assembly that calls Rust: the ABI of interrupts is not stable.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::port::Port;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::InterruptDescriptorTable;

use super::exit::{Status, exit};
use super::interrupted;
use super::serial::say;

/// Where the interrupt controller's lines begin; the timer is the first.
const LINES: u8 = 32;
/// The timer's input, and what is asked of it.
const TIMER_HZ: u32 = 1_193_182;
const TICK_HZ: u32 = 1000;

struct Idt(UnsafeCell<InterruptDescriptorTable>);
// SAFETY: written by `init` alone, before the CPU reads it.
unsafe impl Sync for Idt {}
static IDT: Idt = Idt(UnsafeCell::new(InterruptDescriptorTable::new()));

static TICKS: AtomicU32 = AtomicU32::new(0);

/// Milliseconds since interrupts were enabled.
pub(crate) fn ticks() -> u32 {
    // Relaxed: a clock hands nothing over.
    TICKS.load(Ordering::Relaxed)
}

/// Sets handlers and timer up; interrupts stay masked.
pub(crate) fn init() {
    let address = |entry: extern "C" fn()| VirtAddr::from_ptr(entry as *const ());
    // SAFETY: called once, before anything else looks; the handlers save what
    // they use, or do not return.
    unsafe {
        let idt = &mut *IDT.0.get();
        idt.invalid_opcode.set_handler_addr(address(exception));
        idt.double_fault.set_handler_addr(address(exception));
        idt.general_protection_fault.set_handler_addr(address(exception));
        idt.page_fault.set_handler_addr(address(exception));
        idt[LINES].set_handler_addr(address(timer));
        (*IDT.0.get()).load_unsafe();
        init_devices();
    }
}

/// The interrupt controllers, of which only the timer's line is open, and the
/// timer.
///
/// # Safety
///
/// Caller: interrupts are masked.
unsafe fn init_devices() {
    let divisor = (TIMER_HZ / TICK_HZ).to_le_bytes();
    let writes = [
        // Initialise; first vector; where the other controller is; 8086 mode.
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, LINES),
        (0xa1, LINES + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        // Masks: all but line 0.
        (0x21, 0xfe),
        (0xa1, 0xff),
        // Channel 0, a rate generator.
        (0x43, 0x34),
        (0x40, divisor[0]),
        (0x40, divisor[1]),
    ];
    for (port, value) in writes {
        // SAFETY: the devices' registers, in the order they want.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}

/// The timer's interrupt.
#[unsafe(naked)]
extern "C" fn timer() {
    // Nine words on top of the CPU's five: the stack is aligned for the call.
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11",
        "cld",
        "call {tick}",
        "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "iretq",
        tick = sym tick,
    );
}

extern "C" fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
    interrupted::on_tick();
    // SAFETY: the end of this interrupt, said to the controller.
    unsafe { Port::<u8>::new(0x20).write(0x20_u8) };
}

/// Any exception: those that are caught push an error code, or do not return.
#[unsafe(naked)]
extern "C" fn exception() {
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {report}", "ud2", report = sym report);
}

extern "C" fn report(frame: &[u64; 3]) -> ! {
    say!("exception, stack {frame:x?}, address {:x?}", Cr2::read_raw());
    exit(Status::Exception)
}
