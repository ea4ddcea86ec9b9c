//! `cargo xtask qemu`: the kernel under test, booted on a machine of QEMU's.
//!
//! ```text
//! machine  which machines there are
//! boot     what QEMU is asked for and the kernel told
//! build    the kernel's ELF file
//! run      one boot, from QEMU's start to its verdict
//!   demux    the serial line: text, and frames of the log (rzcobs)
//!   logs     frames to lines, by the kernel's table of messages (log_table)
//!   screen   what a person sees
//!   verdict  QEMU's status, and lines that agree
//! ```

mod boot;
mod build;
mod demux;
mod log_table;
mod logs;
mod machine;
mod run;
mod rzcobs;
mod screen;
mod verdict;

pub(crate) use boot::Boot;
pub(crate) use build::{NoRust, Profile, kernel};
pub(crate) use machine::{Clock, Machine, Page};
pub(crate) use screen::Show;

use crate::figures::elapsed;
use crate::process::Job;
use crate::table::{Tone, paint};
use crate::{Outcome, Verdict, setup, tools};
use anyhow::Result;
use clap::Args;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

/// Options of `cargo xtask qemu`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which machine to boot
    machine: Machine,
    /// How many cores, of which the machines' kernels have stacks for 8
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    smp: u8,
    /// Only the cases of this name
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// How much memory, as QEMU reads it
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    memory: String,
    /// On how many nodes cores and memory are
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: u8,
    /// The size of the kernel's pages
    #[arg(long, value_name = "SIZE", default_value = "4k")]
    page: Page,
    /// How long the cases that take a time shall run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Let the clock count instructions: the same run every time
    #[arg(long)]
    icount: bool,
    /// Build the kernel for speed; this is the default
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Build the kernel with all checks of the compiler
    #[arg(long)]
    debug: bool,
    /// End a boot that takes longer than this
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Show the log as well
    #[arg(long)]
    log: bool,
}

/// Runs `cargo xtask qemu`.
pub(crate) fn run(options: &Options) -> Outcome {
    let wanted = Boot {
        memory: &options.memory,
        nodes: options.nodes,
        page: options.page,
        clock: if options.icount { Clock::Instructions } else { Clock::Host },
        case: options.case.as_deref(),
        seconds: options.seconds,
        ..Boot::new(options.machine, options.smp)
    };
    wanted.check()?;
    setup::ensure(&[options.machine.needs()])?;
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    let kernel = kernel(options.machine, profile)?;
    let show = if options.log { Show::TextAndLogs } else { Show::Text };
    let limit = options.timeout.map_or_else(|| wanted.limit(), Duration::from_secs);
    Ok(tell(&wanted, &kernel, show, limit))
}

/// Boots `kernel`, and fails unless the verdict is good; the error's first
/// line is the reason.
pub(crate) fn boot(
    wanted: &Boot<'_>,
    kernel: &Path,
    show: Show,
    limit: Duration,
) -> Result<Duration> {
    let emulator = tools::require(wanted.machine.emulator())?;
    let qemu = Job::new(emulator).args(wanted.arguments(kernel)).timeout(limit);
    run::run(&qemu, kernel, show)
}

/// Boots `kernel`, and closes with a line that tells the verdict.
pub(crate) fn tell(wanted: &Boot<'_>, kernel: &Path, show: Show, limit: Duration) -> Verdict {
    let ran = boot(wanted, kernel, show, limit);
    let tone = if ran.is_ok() { Tone::Good } else { Tone::Bad };
    let say = |word| paint(word, tone, stdout().is_terminal());
    match &ran {
        Ok(time) => println!("{}: {} in {}", wanted.name(), say("ok"), elapsed(*time)),
        Err(error) => println!("{}: {}: {error:#}", wanted.name(), say("FAILED")),
    }
    Verdict::from_check(ran.is_ok())
}

#[cfg(test)]
mod tests {
    use crate::Cli;
    use clap::Parser;

    #[test]
    fn what_the_kernel_could_not_serve_is_refused() {
        let accepted = |words: &str| {
            let words = ["xtask", "qemu", "riscv64"].into_iter().chain(words.split(' '));
            Cli::try_parse_from(words).is_ok()
        };
        assert!(accepted("--smp 8") && accepted("--seconds 1"));
        for words in ["--smp 0", "--smp 9", "--seconds 0"] {
            assert!(!accepted(words), "{words}");
        }
    }
}
