//! The resident memory of this process, by its own account: what its parent
//! is told includes the parent's memory up to the exec.

use anyhow::{Context, Result};

/// The peak so far, in KiB.
pub(crate) fn peak_kib() -> Result<u64> {
    field("VmHWM:")
}

/// What is resident now, in KiB.
pub(crate) fn resident_kib() -> Result<u64> {
    field("VmRSS:")
}

fn field(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("the kernel tells no {name}"))
}
