//! A kernel that says that it is there: one line of text, one frame of the
//! log, and the status of the argument `exit=`.

use core::cell::UnsafeCell;
use core::panic::PanicInfo;

use machine::memory::BootInfo;
use machine::{exit, uart};

machine::entry!(main);

fn main(boot: &'static BootInfo) -> ! {
    uart::print(format_args!("hello from {} cores\n", boot.cpus()));
    defmt::error!("hello from {=usize} cores", boot.cpus());
    exit(boot.argument("exit").map_or(0, |code| code.parse().expect("a status")))
}

#[defmt::global_logger]
struct Logger;

static ENCODER: SyncCell = SyncCell(UnsafeCell::new(defmt::Encoder::new()));

struct SyncCell(UnsafeCell<defmt::Encoder>);

// SAFETY: this kernel runs on one core, interrupts masked.
unsafe impl Sync for SyncCell {}

fn encode(step: impl FnOnce(&mut defmt::Encoder, fn(&[u8]))) {
    // SAFETY: one core, interrupts masked, and `step` does not log.
    step(unsafe { &mut *ENCODER.0.get() }, uart::write);
}

// SAFETY: as `ENCODER`: nothing comes between `acquire` and `release`.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // A byte that no text has.
        uart::write(&[0xff]);
        encode(|encoder, write| encoder.start_frame(write));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        encode(|encoder, write| encoder.end_frame(write));
    }

    unsafe fn write(bytes: &[u8]) {
        encode(|encoder, write| encoder.write(bytes, write));
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    uart::print_urgently(format_args!("{info}\n"));
    exit(1)
}
