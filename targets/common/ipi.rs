//! Interrupts from one core to another: the handler is
//! [`trap::set_ipi_handler`](crate::trap::set_ipi_handler)'s.

use crate::{cpu, interrupts};

/// Interrupts core number `cpu`, which has been started; it may be this one.
/// What this core wrote before is seen by the handler. Of several that are
/// sent before it runs, it may see one.
///
/// # Panics
///
/// If there is no such core.
pub fn send(cpu: usize) {
    assert!(cpu < cpu::count(), "no such core");
    interrupts::send_software_interrupt(cpu);
}
