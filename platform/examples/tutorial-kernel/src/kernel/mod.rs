//! The kernel. Its own parts, as a tutorial has them:
//!
//! - `boot`: first instructions, long mode, page tables, a stack;
//! - `boot_info`: the memory map that the loader left;
//! - `memory`: page frames and page tables (crate `x86_64`);
//! - `interrupts`: exceptions and a timer;
//! - `serial`, `exit`: output, and QEMU's end.
//!
//! What was added for granule:
//!
//! - `pages`: a `PageProvider` over `memory`;
//! - `heap`: the CPU, the environment, the global allocator;
//! - `cases`, `interrupted`: the tests.

mod boot;
mod boot_info;
mod cases;
mod exit;
mod heap;
mod interrupted;
mod interrupts;
mod memory;
mod pages;
mod serial;

use core::panic::PanicInfo;

use boot_info::StartInfo;
use exit::Status;
use serial::say;

/// Where `boot` jumps to, interrupts masked.
extern "C" fn kernel_main(info: &'static StartInfo) -> ! {
    // SAFETY: the loader's information, and the mapping of all memory that
    // `boot` made; nothing else takes frames.
    unsafe { memory::init(boot::PHYSICAL_MEMORY, info.memory_map()) };
    interrupts::init();
    let failed = cases::run();
    exit::exit(if failed == 0 { Status::Passed } else { Status::Failed })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("{info}");
    exit::exit(Status::Panicked)
}
