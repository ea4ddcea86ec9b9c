//! The stage that boots the kernel of the tutorials' design, which shows that
//! the porting guide can be followed.

use super::{Output, Skipped, Stage};
use crate::process::Job;
use crate::setup::{self, Need};
use crate::tools;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

const KERNEL: &str = "granule-tutorial-kernel";

/// What the exit device of the machine makes of the kernel's "all passed":
/// twice 16, and one. 0 would be a reset.
const PASSED: i32 = 33;

const LIMIT: Duration = Duration::from_secs(120);

/// What it needs.
pub(super) fn needs() -> Vec<&'static Need> {
    vec![&setup::QEMU_X86_64]
}

/// The stage.
pub(super) fn stages() -> Vec<Stage> {
    vec![Stage {
        name: "boot: x86_64, a kernel of the tutorials' design".to_owned(),
        output: Output::Quiet,
        work: Box::new(|| {
            let cargo = setup::bare_cargo(setup::TUTORIAL_TRIPLE)
                .map_err(|why| Skipped(format!("{why:#}")))?;
            let args = ["--quiet", "--release", "--package", KERNEL];
            if !cargo.job("build", &args).stream()?.success() {
                bail!("the kernel does not build");
            }
            boot(&cargo.output("release").join(KERNEL))
        }),
    }]
}

fn boot(kernel: &Path) -> Result<()> {
    tools::require_file(kernel, "the build made no kernel")?;
    let emulator = tools::require("qemu-system-x86_64")?;
    let machine = ["-machine", "q35", "-m", "128M", "-nic", "none", "-no-reboot"];
    let lines = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
    let exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel"];
    let args = machine.into_iter().chain(lines).chain(exit).map(OsString::from);
    let args: Vec<_> = args.chain([kernel.into()]).collect();
    let done = Job::new(emulator).args(args).timeout(LIMIT).run()?;
    let said = done.text();
    let closing = said.lines().rev().find(|line| line.contains(" passed, "));
    match (done.status.code(), closing) {
        (Some(PASSED), Some(line)) if line.ends_with(" 0 failed") => Ok(()),
        _ => bail!("QEMU ended with {}\n{said}", done.status),
    }
}
