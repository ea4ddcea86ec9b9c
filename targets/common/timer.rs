//! A periodic interrupt on each core that asks for one: the handler is
//! [`trap::set_timer_handler`](crate::trap::set_timer_handler)'s.
//!
//! The interrupt of a core's timer is pending while the clock shows at least
//! its deadline, on every machine so far: the next deadline ends it.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::{self, MAX_CPUS};
use crate::interrupts;

/// A core's period in ticks, and when the next one ends. Relaxed: its own core
/// alone uses it.
struct Timer {
    period: AtomicU64,
    deadline: AtomicU64,
}

static TIMERS: [Timer; MAX_CPUS] =
    [const { Timer { period: AtomicU64::new(0), deadline: AtomicU64::new(0) } }; MAX_CPUS];

/// Interrupts this core `hz` times a second, from a period from now.
///
/// # Panics
///
/// If `hz` is 0 or more than the clock has.
pub fn start_periodic(hz: u32) {
    let period = cpu::tick_hz() / u64::from(hz);
    assert!(period != 0, "the clock is too slow");
    let _masked = cpu::mask();
    let timer = &TIMERS[cpu::id()];
    let deadline = cpu::ticks() + period;
    timer.period.store(period, Ordering::Relaxed);
    timer.deadline.store(deadline, Ordering::Relaxed);
    interrupts::set_deadline(Some(deadline));
}

/// No more of them on this core.
pub fn stop() {
    interrupts::set_deadline(None);
}

/// Sets the next deadline. Periods that passed unseen are left out, so that a
/// slow host is not drowned.
pub(crate) fn advance() {
    let timer = &TIMERS[cpu::id()];
    let period = timer.period.load(Ordering::Relaxed);
    let now = cpu::ticks();
    let planned = timer.deadline.load(Ordering::Relaxed) + period;
    let deadline = if planned > now { planned } else { now + period };
    timer.deadline.store(deadline, Ordering::Relaxed);
    interrupts::set_deadline(Some(deadline));
}
