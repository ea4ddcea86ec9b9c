//! `cargo xtask bench instructions`: how many instructions a hit takes, against
//! a committed table.
//!
//! ```text
//! granule-hits under callgrind, twice ─ difference by hit ┬ table ─ verdict
//! granule-hits steps ─────────── its own count of one hit ┘
//! ```
//! Counts do not depend on how busy a machine is, so here an increase is a
//! failure. They do depend on the compiler, whose version the table names.
//!
//! Restartable sequences do not run under valgrind, which knows no `rseq`: with
//! the caches of CPUs `granule-hits` counts step by step, where it can.

use super::programs;
use crate::process::Job;
use crate::setup::{self, Need};
use crate::table::{Cell, Table, Tone, heading};
use crate::{Outcome, Verdict, tools, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options of `cargo xtask bench instructions`.
#[derive(Args)]
pub(crate) struct Options {
    /// Write what was counted to the committed table
    #[arg(long)]
    accept: bool,
    /// Of whole programs instead, by tier of checks and with sampled guard pages;
    /// fails where they cost more than they may. Some minutes
    #[arg(long, conflicts_with = "accept")]
    programs: bool,
}

/// Who counts.
pub(super) const VALGRIND: Need = Need::program("valgrind", &["valgrind"]);

/// The committed table, by architecture.
const TABLE: &str = "host-tests/counts/instructions.json";

/// One operation of one door.
struct Counted {
    /// The door, as `granule-hits` or `granule-heaps` calls it.
    door: &'static str,
    /// The operation, as in the name of its function.
    operation: &'static str,
    /// How often one hit of `granule-hits` performs it.
    times: u64,
    /// What a person calls it.
    about: &'static str,
    /// The tier of checks.
    tier: &'static str,
    /// Bytes of each block.
    size: usize,
    /// An operation whose count is taken off: its code is another library's, and depends
    /// on the machine.
    less: Option<&'static str>,
}

const fn counted(
    door: &'static str,
    operation: &'static str,
    times: u64,
    about: &'static str,
) -> Counted {
    Counted { door, operation, times, about, tier: "basic", size: SMALL, less: None }
}

const fn moderate(operation: &'static str, times: u64, about: &'static str) -> Counted {
    Counted { tier: "moderate", ..counted("c", operation, times, about) }
}

/// The door's `calloc`, without what clears the block.
const fn calloc(tier: &'static str, about: &'static str) -> Counted {
    Counted { tier, less: Some("clear"), ..counted("c", "calloc", 1, about) }
}

/// Of a size that no table tells the class of.
const fn medium(one: Counted) -> Counted {
    Counted { size: MEDIUM, ..one }
}

/// Bytes of the blocks of most.
const SMALL: usize = 64;
const MEDIUM: usize = 2000;

/// Everything that is counted.
const COUNTED: [Counted; 26] = [
    counted("rust", "alloc", 2, "process heap, caches of threads: alloc"),
    counted("rust", "dealloc", 1, "process heap, caches of threads: free, sized"),
    counted("rust", "free", 1, "process heap, caches of threads: free, unsized"),
    counted("guarded", "alloc", 2, "portable front end, one CPU: alloc"),
    counted("guarded", "dealloc", 1, "portable front end, one CPU: free, sized"),
    counted("guarded", "free", 1, "portable front end, one CPU: free, unsized"),
    counted("scoped", "alloc", 1, "process heap, scoped: alloc"),
    counted("scoped", "dealloc", 1, "process heap, scoped: free, sized"),
    counted("owned", "alloc", 1, "heap that ends, shared: alloc"),
    counted("owned", "dealloc", 1, "heap that ends, shared: free, sized"),
    counted("local", "alloc", 1, "heap that ends, one thread's: alloc"),
    counted("local", "dealloc", 1, "heap that ends, one thread's: free, sized"),
    counted("c", "alloc", 1, "C library, caches of threads: malloc"),
    calloc("basic", "C library, caches of threads: calloc but its clearing"),
    counted("c", "free", 2, "C library, caches of threads: free"),
    medium(counted("rust", "alloc", 2, "process heap, caches of threads: alloc, 2,000 bytes")),
    medium(counted(
        "rust",
        "dealloc",
        1,
        "process heap, caches of threads: free, sized, 2,000 bytes",
    )),
    medium(counted("c", "alloc", 1, "C library, caches of threads: malloc, 2,000 bytes")),
    medium(calloc("basic", "C library, caches of threads: calloc but its clearing, 2,000 bytes")),
    medium(counted("c", "free", 2, "C library, caches of threads: free, 2,000 bytes")),
    moderate("alloc", 1, "C library, tier moderate, caches of threads: malloc"),
    calloc("moderate", "C library, tier moderate, caches of threads: calloc but its clearing"),
    moderate("free", 2, "C library, tier moderate, caches of threads: free"),
    medium(moderate(
        "alloc",
        1,
        "C library, tier moderate, caches of threads: malloc, 2,000 bytes",
    )),
    medium(calloc(
        "moderate",
        "C library, tier moderate, caches of threads: calloc but its clearing, 2,000 bytes",
    )),
    medium(moderate("free", 2, "C library, tier moderate, caches of threads: free, 2,000 bytes")),
];

/// What is counted step by step: the name `granule-hits` says, and ours.
const STEPPED: [(&str, &str); 5] = [
    ("rust alloc", "process heap, caches of CPUs: alloc"),
    ("rust dealloc", "process heap, caches of CPUs: free, sized"),
    ("rust free", "process heap, caches of CPUs: free, unsized"),
    ("c alloc", "C library, caches of CPUs: malloc"),
    ("c free", "C library, caches of CPUs: free"),
];

/// Hits of the two runs: both past all misses.
const HITS: [u64; 2] = [2000, 3000];

/// A table for one architecture.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// The compiler that made the code.
    rustc: String,
    /// Instructions by hit.
    instructions: BTreeMap<String, u64>,
}

/// All tables.
type Tables = BTreeMap<String, Counts>;

/// Runs `cargo xtask bench instructions`.
pub(super) fn run(options: &Options) -> Outcome {
    if options.programs {
        return programs::run();
    }
    let (now, mut tables) = (count()?, read()?);
    let before = tables.get(std::env::consts::ARCH).cloned().unwrap_or_default();
    print(&before, &now);
    if options.accept {
        tables.insert(std::env::consts::ARCH.to_owned(), now);
        std::fs::write(file(), serde_json::to_string_pretty(&tables)? + "\n")?;
        println!("\n  written to {TABLE}");
        return Ok(Verdict::Good);
    }
    let worse = worse(&before, &now);
    for line in &worse {
        println!("\nFAILED {line}");
    }
    Ok(Verdict::from_check(worse.is_empty()))
}

/// Why a count says nothing against the committed table.
pub(crate) struct Incomparable(pub(crate) String);

/// Fails where a hit takes more instructions than the committed table says;
/// another compiler makes other code, of which it says nothing.
pub(crate) fn check() -> Result<Option<Incomparable>> {
    let (now, tables) = (count()?, read()?);
    let before = tables.get(std::env::consts::ARCH).cloned().unwrap_or_default();
    if before.rustc != now.rustc {
        let why = format!("counted with rustc {}, this is {}", before.rustc, now.rustc);
        return Ok(Some(Incomparable(why)));
    }
    let worse = worse(&before, &now);
    if !worse.is_empty() {
        bail!("{}", worse.join("\n"));
    }
    Ok(None)
}

fn file() -> PathBuf {
    workspace::root().join(TABLE)
}

fn read() -> Result<Tables> {
    let text = std::fs::read_to_string(file()).context(TABLE)?;
    serde_json::from_str(&text).context(TABLE)
}

/// Counts everything.
fn count() -> Result<Counts> {
    setup::ensure(&[&VALGRIND])?;
    let library = workspace::library_under_test()?;
    workspace::build_release("granule-counts")?;
    let programs = workspace::target().join("release");
    let program = programs.join("granule-hits");
    let rustc = Job::new(tools::cargo()?.with_file_name("rustc")).arg("--version").run_ok()?.text();
    let rustc = rustc.split_whitespace().nth(1).context("rustc tells no version")?.to_owned();
    let mut instructions = BTreeMap::new();
    let mut taken_off = BTreeMap::new();
    for one in &COUNTED {
        let program = match one.door {
            "rust" | "guarded" | "c" => program.clone(),
            _ => programs.join("granule-heaps"),
        };
        let mut count = one.by_hit(&program, &library)?;
        if let Some(operation) = one.less {
            // Twice as often: after each way to allocate. The same in all tiers.
            let other = Counted { operation, times: 2, tier: "basic", ..*one };
            let off = match taken_off.get(&one.size) {
                Some(&off) => off,
                None => other.by_hit(&program, &library)?,
            };
            taken_off.insert(one.size, off);
            count = count.checked_sub(off).context("less than it is made of")?;
        }
        instructions.insert(one.about.to_owned(), count);
    }
    match steps(&program, &library) {
        Ok(counts) => instructions.extend(counts),
        Err(why) => eprintln!("skipped: caches of CPUs: {why:#}"),
    }
    Ok(Counts { rustc, instructions })
}

/// Counts with the caches of CPUs, where the machine has what they need.
fn steps(program: &Path, library: &Path) -> Result<Vec<(String, u64)>> {
    let job = Job::new(program).arg("steps").env("LD_PRELOAD", library);
    let said = job.env_remove("GRANULE_FRONTEND").run_ok()?.text();
    if !said.starts_with("caches Cpus\n") {
        bail!("this machine has none");
    }
    let count = |(name, about): &(&str, &str)| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        let count = line.and_then(|count| count.trim().parse().ok());
        Ok(((*about).to_owned(), count.with_context(|| format!("no count of {name}"))?))
    };
    STEPPED.iter().map(count).collect()
}

impl Counted {
    /// Instructions of one hit.
    fn by_hit(&self, program: &Path, library: &Path) -> Result<u64> {
        let few = self.total(program, library, HITS[0])?;
        let many = self.total(program, library, HITS[1])?;
        let hits = (HITS[1] - HITS[0]) * self.times;
        let more = many.checked_sub(few).context("more hits took fewer instructions")?;
        if more == 0 || more % hits != 0 {
            bail!("{}: {hits} hits took {more} instructions: not hits alone", self.about);
        }
        Ok(more / hits)
    }

    /// All instructions inside the operation in a run of so many hits.
    fn total(&self, program: &Path, library: &Path, hits: u64) -> Result<u64> {
        let function = format!("--toggle-collect=counted_{}_{}", self.door, self.operation);
        let valgrind = tools::require("valgrind")?;
        let job = Job::new(program).arg(self.door).arg(hits.to_string());
        let job = match self.door {
            "rust" | "guarded" | "c" => job.arg(self.size.to_string()),
            _ => job,
        };
        let job = job.through(valgrind, |own| {
            let ours = ["--tool=callgrind", "--callgrind-out-file=/dev/null", &function];
            own.extend(ours.map(Into::into));
        });
        // Valgrind itself does not call malloc by the loader: only the program
        // under it is preloaded. The other doors are the program's own.
        let job = match self.door {
            "c" => job.env("LD_PRELOAD", library),
            _ => job.env_remove("LD_PRELOAD"),
        };
        let job = job.env("GRANULE_FRONTEND", "thread").env("GRANULE_CHECK", self.tier);
        let said = job.run_ok()?;
        collected(&String::from_utf8_lossy(&said.stderr)).context("callgrind tells no count")
    }
}

/// What callgrind says it collected.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

/// What takes more instructions than it did, a line each.
fn worse(before: &Counts, now: &Counts) -> Vec<String> {
    let mut lines = Vec::new();
    for (about, count) in &now.instructions {
        match before.instructions.get(about) {
            Some(committed) if count <= committed => {}
            Some(committed) => lines.push(format!(
                "{about}: {count} instructions, {committed} in {TABLE} (rustc {} then, {} now)",
                before.rustc, now.rustc
            )),
            None => lines.push(format!("{about}: not in {TABLE}; --accept writes it")),
        }
    }
    lines
}

fn print(before: &Counts, now: &Counts) {
    heading(
        "Instructions by hit, 64 bytes if nothing else is said, the call of a function included",
    );
    println!();
    let mut table = Table::new(&["operation", "committed", "now"]);
    for (about, count) in &now.instructions {
        let committed = before.instructions.get(about);
        let tone = match committed {
            Some(committed) if count > committed => Tone::Bad,
            Some(committed) if count < committed => Tone::Good,
            _ => Tone::Plain,
        };
        table.row(vec![
            Cell::new(about.clone()),
            Cell::toned(committed.map_or("-".to_owned(), u64::to_string), Tone::Faint),
            Cell::toned(count.to_string(), tone),
        ]);
    }
    table.print();
    if !before.rustc.is_empty() && before.rustc != now.rustc {
        println!();
        println!("  The table was made by rustc {}, this is {}.", before.rustc, now.rustc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        let one = ("alloc".to_owned(), count);
        Counts { rustc: "1.88.0".into(), instructions: BTreeMap::from([one]) }
    }

    #[test]
    fn only_an_increase_fails() {
        assert!(worse(&counts(10), &counts(10)).is_empty());
        assert!(worse(&counts(10), &counts(9)).is_empty());
        assert_eq!(worse(&counts(10), &counts(11)).len(), 1);
        assert_eq!(worse(&Counts::default(), &counts(1)).len(), 1, "what is new is not accepted");
    }

    #[test]
    fn callgrind_is_understood() {
        assert_eq!(collected("==7== \n==7== Collected : 117260\n==7==\n"), Some(117_260));
        assert_eq!(collected("nothing"), None);
    }

    #[test]
    fn the_committed_table_has_every_operation() {
        let tables = read().expect("a table is committed");
        for (architecture, counts) in &tables {
            for one in &COUNTED {
                assert!(counts.instructions.contains_key(one.about), "{architecture}");
            }
            for (_, about) in &STEPPED {
                assert!(counts.instructions.contains_key(*about), "{architecture}");
            }
        }
    }
}
