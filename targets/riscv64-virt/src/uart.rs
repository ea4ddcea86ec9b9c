//! The UART: a 16550, polled.
//!
//! NS16550A data sheet: the transmitter holding register takes a byte when bit
//! 5 of the line status register is set.

pub use crate::output::{print, print_urgently, write};

const BASE: usize = 0x1000_0000;
/// Transmitter holding register.
const THR: usize = BASE;
/// Line status register.
const LSR: usize = BASE + 5;
const LSR_THR_EMPTY: u8 = 1 << 5;

/// Writes one byte. For [`output`](crate::output) alone: no lock is taken.
pub(crate) fn put(byte: u8) {
    // SAFETY: the device's registers, at these addresses on this machine.
    unsafe {
        while (LSR as *const u8).read_volatile() & LSR_THR_EMPTY == 0 {}
        (THR as *mut u8).write_volatile(byte);
    }
}
