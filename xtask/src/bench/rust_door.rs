//! The peers as Rust's global allocator: one binary for each, linked to it.
//!
//! Here a free is told the size. Each crate is as its own documentation says to
//! use it; the link-time optimization of a release build reaches through the
//! shims that are Rust, and stops at those that are C.

use super::peers::{Absent, Contender, OURS};
use crate::allocator::Preload;
use crate::workspace;
use anyhow::{Result, bail};

/// Each has a binary `patterns-NAME` in `granule-peers`, and a feature NAME.
const NAMES: [&str; 6] = [OURS, "system", "mimalloc", "snmalloc", "jemalloc", "rpmalloc"];

/// Everybody whose binary could be built. Minutes, the first time.
pub(super) fn assemble() -> Result<(Vec<Contender>, Vec<Absent>)> {
    let (mut here, mut absent) = (Vec::new(), Vec::new());
    for name in NAMES {
        match build(name) {
            Ok(contender) => here.push(contender),
            Err(error) if name == OURS => return Err(error),
            Err(error) => absent.push(Absent::new(name, &error)),
        }
    }
    Ok((here, absent))
}

fn build(name: &'static str) -> Result<Contender> {
    let binary = format!("patterns-{name}");
    // One at a time: what does not build here must not take others with it.
    let job = workspace::cargo(["build", "--release", "--package", "granule-peers"])?;
    let status = job.args(["--bin", &binary, "--features", name]).stream()?;
    if !status.success() {
        bail!("its crate does not build here ({status})");
    }
    let origin = format!("linked into {binary} of granule-peers");
    let program = workspace::target().join("release").join(binary);
    Ok(Contender { name, origin, preload: Preload::plain(), program })
}
