//! The other cores.
//!
//! Each waits in `park` for a function in its mailbox and a software
//! interrupt that wakes it. The mailboxes are in `.data`: parked harts read
//! them while hart 0 clears `.bss`.

use core::arch::asm;
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::cpu::{self, MAX_CPUS};
use crate::interrupts;

#[unsafe(link_section = ".data")]
static MAILBOXES: [AtomicPtr<()>; MAX_CPUS] = [const { AtomicPtr::new(null_mut()) }; MAX_CPUS];

/// Why a core could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// There is none of this number.
    NoSuchCpu,
    /// It runs.
    AlreadyRunning,
}

/// Starts core number `cpu`: it calls `work`, interrupts masked, and sees what
/// this core has done before.
///
/// # Errors
///
/// See [`StartError`].
pub fn start(cpu: usize, work: fn() -> !) -> Result<(), StartError> {
    if cpu >= cpu::count() {
        return Err(StartError::NoSuchCpu);
    }
    if cpu == 0 {
        return Err(StartError::AlreadyRunning);
    }
    let work = (work as *const ()).cast_mut();
    // Release: pairs with the Acquire in `park`. Relaxed on failure: nothing
    // is read.
    MAILBOXES[cpu]
        .compare_exchange(null_mut(), work, Ordering::Release, Ordering::Relaxed)
        .map_err(|_| StartError::AlreadyRunning)?;
    interrupts::send_software_interrupt(cpu);
    Ok(())
}

/// Where harts other than 0 begin. Interrupts are masked, and stay so.
pub(crate) extern "C" fn park() -> ! {
    // SAFETY: lets software interrupts end `wfi`; none is taken.
    unsafe { asm!("csrw mie, {}", in(reg) interrupts::MSIE, options(nostack)) };
    let work = loop {
        // Acquire: pairs with the Release in `start`.
        let work = MAILBOXES[cpu::id()].load(Ordering::Acquire);
        if !work.is_null() {
            break work;
        }
        cpu::wait_for_interrupt();
    };
    interrupts::start_core();
    // SAFETY: `start` alone stores anything but null, and that a `fn() -> !`.
    unsafe { transmute::<*mut (), fn() -> !>(work)() }
}
