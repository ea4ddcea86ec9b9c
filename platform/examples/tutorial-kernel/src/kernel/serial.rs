//! Output: the first serial port, polled.

use core::fmt::{self, Write};

use granule::base::sync::Lock;
use x86_64::instructions::port::Port;

use super::heap::KernelEnv;

/// The registers of COM1.
const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
/// Line status: a byte may be sent.
const READY: u8 = 1 << 5;

struct Serial {
    data: Port<u8>,
    status: Port<u8>,
}

static SERIAL: Lock<Serial, KernelEnv> =
    Lock::new(Serial { data: Port::new(COM1), status: Port::new(LINE_STATUS) });

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the port's own registers; reading the status and
            // sending a byte do nothing else.
            unsafe {
                while self.status.read() & READY == 0 {}
                self.data.write(byte);
            }
        }
        Ok(())
    }
}

/// Prints without allocating, from anywhere.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    // A port never refuses.
    let _ = SERIAL.lock().write_fmt(text);
}

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::kernel::serial::print(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;
