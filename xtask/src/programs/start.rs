//! What an allocator costs a process that hardly allocates.

use super::{Judge, Observed, Program, Stage};
use crate::figures::median;
use crate::process::Cost;
use anyhow::{Context, Result};
use std::time::Duration;

/// A process that ends at once, and the memory of one almost as small.
pub(crate) const START: Program = Program {
    name: "/bin/true",
    about: "one process start, the median of many",
    needs: &[],
    proof: ("cat", "/dev/null"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(20),
    run,
};

/// Starts per run.
const STARTS: usize = 150;

fn run(stage: &Stage<'_>) -> Result<Observed> {
    let nothing = stage.under.apply_plainly(stage.bystander("true")?);
    let mut walls = Vec::with_capacity(STARTS);
    let mut total = Cost::default();
    for _ in 0..STARTS {
        let done = nothing.run_ok()?;
        walls.push(done.cost.wall.as_secs_f64());
        total = total.then(done.cost);
    }
    // The kernel's peak for a child counts our own memory up to the exec, which
    // is more than /bin/true has. `cat` tells its own, and is as small.
    let status = stage.under.apply_plainly(stage.bystander("cat")?.arg("/proc/self/status"));
    let status = status.run_ok()?.text();
    let peak_kib = crate::process::peak_in_status(&status).context("no VmHWM")?;
    let starts = u32::try_from(STARTS).context("few enough to count")?;
    let cost = Cost {
        wall: Duration::from_secs_f64(median(&walls)),
        cpu: total.cpu / starts,
        peak_kib,
        ..total
    };
    Ok(Observed { cost, output: Vec::new() })
}
