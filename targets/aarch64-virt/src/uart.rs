//! The UART: a PL011, polled.
//!
//! PrimeCell UART (PL011) Technical Reference Manual, 3.3: the data register
//! takes a byte while bit 5 of the flag register, "transmit FIFO full", is
//! clear.

pub use crate::output::{print, print_urgently, write};

const BASE: usize = 0x0900_0000;
/// Data register.
const DR: usize = BASE;
/// Flag register.
const FR: usize = BASE + 0x18;
const FR_TXFF: u32 = 1 << 5;

/// Writes one byte. For [`output`](crate::output) alone: no lock is taken.
pub(crate) fn put(byte: u8) {
    // SAFETY: the device's registers, at these addresses on this machine.
    unsafe {
        while (FR as *const u32).read_volatile() & FR_TXFF != 0 {}
        (DR as *mut u32).write_volatile(byte.into());
    }
}
