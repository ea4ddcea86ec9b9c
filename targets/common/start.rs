//! Core 0, from the first Rust code to the kernel's main function.

use core::mem::MaybeUninit;

use crate::memory::{BootInfo, MemoryRange};
use crate::{cpu, exit, interrupts, output, paging};

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

/// Where `boot` ends: the stack is set, `.bss` is clear. `tree` is where the
/// device tree should be.
pub(crate) extern "C" fn first(tree: *const u8) -> ! {
    static mut BOOT: MaybeUninit<BootInfo> = MaybeUninit::uninit();
    let start = (&raw const __image_start).addr();
    let image = MemoryRange { start, bytes: (&raw const __image_end).addr() - start };
    // SAFETY: as the machine promises; the tree is reserved from now on.
    let info = unsafe { BootInfo::read(tree, image) };
    let info = info.unwrap_or_else(|why| fail(exit::BAD_BOOT, why));
    cpu::start_machine(&info);
    paging::enable(&info).unwrap_or_else(|why| fail(exit::UNSUPPORTED, why));
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
