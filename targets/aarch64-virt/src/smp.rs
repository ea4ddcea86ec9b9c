//! The other cores.
//!
//! Arm Power State Coordination Interface (DEN 0022), 5.1.4 `CPU_ON`: by `hvc`
//! on this machine; starts a core at a physical address, at EL1 with the MMU
//! off, with one value in `x0`.

use core::arch::asm;
use core::mem::transmute;

use crate::{boot, cpu, interrupts, paging};

const CPU_ON: usize = 0xc400_0003;
const SUCCESS: isize = 0;
const ALREADY_ON: isize = -4;
const ON_PENDING: isize = -5;

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
    let status: isize;
    // SAFETY: by the SMC Calling Convention changes no register but `x0` to
    // `x17`. The new core gets a stack of its own, and a `fn() -> !`.
    unsafe {
        asm!(
            "dsb sy",
            "hvc #0",
            inout("x0") CPU_ON => status,
            inout("x1") cpu => _,
            inout("x2") boot::start_secondary as *const () => _,
            inout("x3") work as *const () => _,
            clobber_abi("C"),
        );
    }
    match status {
        SUCCESS => Ok(()),
        ALREADY_ON | ON_PENDING => Err(StartError::AlreadyRunning),
        _ => Err(StartError::NoSuchCpu),
    }
}

/// Where cores other than 0 begin; `work` is what [`start`] was given.
pub(crate) extern "C" fn begin(work: *const ()) -> ! {
    paging::follow();
    cpu::start_core();
    interrupts::start_core();
    // SAFETY: by `start`, a `fn() -> !`.
    unsafe { transmute::<*const (), fn() -> !>(work)() }
}
