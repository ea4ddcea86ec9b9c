//! SQLite building and querying a table in a file.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::{Result, bail};
use std::time::Duration;

/// The script; `ROWS` stands for the size of the table.
const SCRIPT: &str = include_str!("scripts/table.sql");

/// The command line shell.
pub(crate) const SQLITE: Program = Program {
    name: "sqlite3",
    about: "a table built, indexed, joined and checked",
    needs: &[setup::SQLITE],
    proof: ("sqlite3", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(180),
    run,
};

fn run(stage: &Stage<'_>) -> Result<Observed> {
    let script = SCRIPT.replace("ROWS", stage.scaled("120000", "1000000"));
    let script = stage.write("table.sql", script)?;
    let job = stage.job("sqlite3")?.args(["-batch", "-bail", "table.db"]).input(script);
    let done = job.run_ok()?;
    if done.text().lines().last() != Some("ok") {
        bail!("integrity_check did not say ok\n{}", done.tail());
    }
    Ok(Observed::stdout(done))
}
