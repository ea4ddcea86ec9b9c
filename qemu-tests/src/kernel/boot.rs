//! From the first call to the last: early heap, memory map, frames, heap,
//! cores, cases.

use core::panic::PanicInfo;

use machine::memory::BootInfo;

use super::heap::{self, FRAMES, GLOBAL, answer};
use super::table::{self, Wish};
use super::text::say;
use super::{cases, crew, exit, memory};

machine::entry!(main);

fn main(boot: &'static BootInfo) -> ! {
    memory::keep(boot);
    heap::present();
    cases::allocate_early();
    if let Err(error) = memory::init_frames() {
        say!("no frames: {error}");
        machine::exit(exit::BOOT);
    }
    if let Err(error) = GLOBAL.open() {
        say!("no heap: {error}");
        machine::exit(exit::BOOT);
    }
    machine::trap::set_ipi_handler(answer);
    machine::cpu::enable();
    if crew::assemble().is_err() {
        say!("a core did not start");
        machine::exit(exit::BOOT);
    }
    say!(
        "granule on {}, {} cores, {} KiB pages, {}",
        ARCHITECTURE,
        crew::count(),
        memory::frame_size() >> 10,
        FRAMES.stats(),
    );
    let counting = boot.argument("icount").is_some();
    let good = table::run(Wish { case: boot.argument("case"), counting });
    machine::exit(if good { exit::GOOD } else { exit::FAILED })
}

#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "aarch64";
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: &str = "riscv64";

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    machine::uart::print_urgently(format_args!("{info}\n"));
    machine::exit(exit::PANIC)
}
