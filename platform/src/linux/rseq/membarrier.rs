//! Having the kernel restart every sequence of the process that is under way.
//!
//! `membarrier` interrupts each CPU that runs a thread of the process; a
//! thread that does not run restarts its sequence when it does. Since Linux
//! 5.10. A process registers for it once; a child of `fork` inherits that,
//! and where it does not, registers when it is told so.

use super::super::env::quietly;

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ`.
const RESTART: libc::c_int = 1 << 7;
/// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ`.
const REGISTER: libc::c_int = 1 << 8;

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: takes no pointers, changes nothing but the process's
    // registration.
    quietly(|| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }) == 0
}

/// Registers the process; `false` where the kernel cannot do it.
pub(super) fn register() -> bool {
    membarrier(REGISTER)
}

/// Returns true when every sequence that was under way at the call has ended
/// or will start again. A full barrier of memory on all threads, too.
pub(super) fn restart_sequences() -> bool {
    membarrier(RESTART) || (register() && membarrier(RESTART))
}
