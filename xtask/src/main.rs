//! The project's own commands: `cargo xtask setup | demo | test | soak | bench | qemu`.
//!
//! Each command installs what it needs, says what it does while it does it,
//! and exits non-zero when anything it promises does not hold.
//!
//! ```text
//! setup     what each command needs, and how to get it
//! demo      everyday programs on glibc and on granule, side by side
//! test      every test there is, real programs among them
//! verify    the checks that take hours
//! soak      mixed load for as long as is asked, which loses nothing
//! bench     patterns and real programs under granule and other allocators
//! qemu      the kernel under test, booted on one machine
//! ```

mod allocator;
mod bench;
mod demo;
mod figures;
mod process;
mod programs;
mod progress;
mod qemu;
mod setup;
mod soak;
mod table;
mod test;
mod tools;
mod verify;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The command line.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of the granule workspace", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One variant per command; each command's options live in its own module.
#[derive(Subcommand)]
enum Command {
    /// Install what the other commands need, or say in one line what is missing
    Setup(setup::Options),
    /// Run everyday programs on glibc and on granule, and compare
    Demo(demo::Options),
    /// Run every test: unit tests, oldest supported compiler, real programs
    Test(test::Options),
    /// Run the checks that take hours: models, Miri, sanitizers, the fuzzer
    Verify(verify::Options),
    /// Run mixed load against a shadow for some minutes
    Soak(soak::Options),
    /// Measure small allocation patterns under several allocators
    Bench(bench::Options),
    /// Boot the kernel under test on a machine that QEMU plays
    Qemu(qemu::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Qemu(options) => qemu::run(&options),
    };
    match done {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How a command that ran to its end came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a verdict that nobody reads hides a failure"]
enum Verdict {
    /// Everything held.
    Good,
    /// Something failed; the command has already said what.
    Bad,
}

impl Verdict {
    /// Good when `holds`, else bad.
    fn from_check(holds: bool) -> Verdict {
        if holds { Verdict::Good } else { Verdict::Bad }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> ExitCode {
        match verdict {
            Verdict::Good => ExitCode::SUCCESS,
            Verdict::Bad => ExitCode::FAILURE,
        }
    }
}

/// A `Result` whose success still carries a verdict.
type Outcome = Result<Verdict>;
