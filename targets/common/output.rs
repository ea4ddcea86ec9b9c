//! Text on the UART: what one call writes stays together, whichever cores
//! write at the same time.
//!
//! Locks: `BUSY`, a leaf, held with interrupts masked. A trap that prints
//! while its own core holds it does so urgently.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::{cpu, uart};

/// Whether a core is writing.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Turns to wait for a core that may never be done: it may be this one, or
/// stopped. Some tens of milliseconds.
const PATIENCE: u32 = 1 << 20;

/// Writes these bytes as they are, polling.
pub fn write(bytes: &[u8]) {
    let _masked = cpu::mask();
    while !enter() {
        cpu::relax();
    }
    put(bytes);
    leave();
}

/// Writes formatted text as one call of [`write()`].
pub fn print(text: fmt::Arguments<'_>) {
    let _masked = cpu::mask();
    while !enter() {
        cpu::relax();
    }
    // `Raw` never fails; a `Display` that does has been cut short.
    let _ = Raw.write_fmt(text);
    leave();
}

/// Writes formatted text from a panic or an exception: waits a bounded time
/// for whoever is writing, then writes all the same.
pub fn print_urgently(text: fmt::Arguments<'_>) {
    let _masked = cpu::mask();
    let entered = (0..PATIENCE).any(|_| {
        cpu::relax();
        enter()
    });
    let _ = Raw.write_fmt(text);
    if entered {
        leave();
    }
}

fn enter() -> bool {
    // Acquire: pairs with the Release in `leave`, so that the device sees the
    // bytes of two calls in order.
    !BUSY.swap(true, Ordering::Acquire)
}

fn leave() {
    BUSY.store(false, Ordering::Release);
}

fn put(bytes: &[u8]) {
    bytes.iter().copied().for_each(uart::put);
}

/// The device without the lock.
struct Raw;

impl Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put(text.as_bytes());
        Ok(())
    }
}
