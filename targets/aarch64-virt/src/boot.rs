//! From the first instruction to the kernel's main function.
//!
//! QEMU (`docs/system/arm/virt.rst`, `hw/arm/boot.c`) starts core 0 at the
//! ELF's entry, at EL1, with the MMU off and interrupts masked, and puts the
//! device tree at the start of RAM if there is room below the image. The other
//! cores are off until [`smp::start`] asks the firmware (PSCI) for
//! them.
//!
//! ```text
//! _start ───────── registers, stack ─ clear .bss ─ first ─ kernel's main
//! start_secondary  registers, stack ─ smp::begin ─ smp::start's function
//! ```

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use crate::cpu::{MAX_CPUS, STACK_BYTES};
use crate::memory::{BootInfo, MemoryRange};
use crate::{cpu, exit, interrupts, output, paging, smp, trap};

/// Where RAM starts, and the device tree lies.
pub const RAM_START: usize = 0x4000_0000;

/// `CPACR_EL1.FPEN`: floating-point instructions work. Rust code uses them to
/// copy, so nothing runs before this.
const CPACR_FPEN: usize = 0b11 << 20;

unsafe extern "Rust" {
    /// The kernel's, by [`entry!`](crate::entry).
    fn kernel_main(boot: &'static BootInfo) -> !;
}

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// Makes a function of type `fn(&'static BootInfo) -> !` the kernel's main
/// function. It runs on core 0, interrupts masked.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn kernel_main(boot: &'static $crate::memory::BootInfo) -> ! {
                let main: fn(&'static $crate::memory::BootInfo) -> ! = $main;
                main(boot)
            }
        };
    };
}

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
        "2: b {first}",
        registers = sym registers,
        first = sym first,
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

/// Core 0 from here on.
extern "C" fn first() -> ! {
    static mut BOOT: MaybeUninit<BootInfo> = MaybeUninit::uninit();
    let start = (&raw const __image_start).addr();
    let image = MemoryRange { start, bytes: (&raw const __image_end).addr() - start };
    // SAFETY: RAM; what is there, image apart, is reserved from now on.
    let info = match unsafe { BootInfo::read(RAM_START as *const u8, image) } {
        Ok(info) => info,
        Err(why) => fail(exit::BAD_BOOT, why),
    };
    cpu::configure(&info);
    cpu::start_counter();
    if let Err(why) = paging::enable(&info) {
        fail(exit::UNSUPPORTED, why);
    }
    interrupts::start_machine();
    interrupts::start_core();
    // SAFETY: nobody else knows `BOOT`, and this runs once. The kernel's main
    // function has this signature by `entry!`.
    unsafe {
        let boot = &raw mut BOOT;
        kernel_main((*boot).write(info))
    }
}

fn fail(code: u8, why: &str) -> ! {
    output::print_urgently(format_args!("boot: {why}\n"));
    exit::exit(code)
}
