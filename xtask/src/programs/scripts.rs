//! Perl and Lua: interpreters that take every object from `malloc`.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::Result;
use std::time::Duration;

/// Hashes of arrays, regular expressions, strings that grow.
pub(crate) const PERL: Program = Program {
    name: "perl",
    about: "hashes, regular expressions, growing strings",
    needs: &[setup::PERL],
    proof: ("perl", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(120),
    run: |stage| run(stage, "perl", "words.pl", include_str!("scripts/words.pl")),
};

/// Tables, closures, strings and coroutines.
pub(crate) const LUA: Program = Program {
    name: "lua",
    about: "tables, closures, strings, coroutines",
    needs: &[setup::LUA],
    proof: ("lua5.4", "-v"),
    run: |stage| run(stage, "lua5.4", "tables.lua", include_str!("scripts/tables.lua")),
    ..PERL
};

fn run(stage: &Stage<'_>, tool: &str, name: &str, script: &str) -> Result<Observed> {
    let script = stage.write(name, script)?;
    let job = stage.job(tool)?.arg(script).arg(stage.scaled("1", "4"));
    // Perl walks its hashes by this seed; the script sorts, but sizes follow it.
    let job = job.env("PERL_HASH_SEED", "0").env("PERL_PERTURB_KEYS", "0");
    Ok(Observed::stdout(job.run_ok()?))
}
