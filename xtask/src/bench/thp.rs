//! Transparent huge pages: what this machine does, and what the runs get.
//!
//! With huge pages a resident set says more about the kernel than about the
//! allocator, and machines differ. So they are off for all unless asked for.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// What runs get.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Thp {
    /// None, whatever the machine says.
    Never,
    /// What the machine says.
    System,
}

impl Thp {
    /// Arranges it for all processes started from now on; says what it is.
    pub(super) fn apply(self) -> Result<String> {
        let file = "/sys/kernel/mm/transparent_hugepage/enabled";
        let system = std::fs::read_to_string(file).unwrap_or_else(|_| "[unknown]".to_owned());
        let system = system.split(['[', ']']).nth(1).unwrap_or("unknown").to_owned();
        match self {
            Thp::System => Ok(format!("as the system says: {system}")),
            Thp::Never => {
                // SAFETY: PR_SET_THP_DISABLE takes integers and touches no
                // memory of ours. Children inherit it, also over an exec.
                if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
                    bail!("cannot keep huge pages off: {}", std::io::Error::last_os_error());
                }
                Ok(format!("never, in all runs; the system says {system}"))
            }
        }
    }
}
