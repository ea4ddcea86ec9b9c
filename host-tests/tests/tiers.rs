//! What each tier of checks catches: the table in the README, cell by cell.
//!
//! *At the access* means that it faults, with a report, *faults* without one, *at once* before the call that is the mistake (or the next one on the
//! block) returns, *later* means while the program goes on, *no* that it ends as
//! if nothing had been wrong.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Source};

/// When a mistake is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    AtAccess,
    AtOnce,
    Later,
    No,
    /// As *at the access*, but that nobody says whose memory it was.
    Faults,
    /// Later or not: of two copies in caches both may stay there.
    Perhaps,
}
use Caught::{AtAccess, AtOnce, Faults, Later, No, Perhaps};

impl Caught {
    fn name(self) -> &'static str {
        match self {
            AtAccess => "at the access",
            AtOnce => "at once",
            Later => "later",
            No => "no",
            Faults => "faults",
            Perhaps => "perhaps",
        }
    }
}

const TIERS: [&str; 3] = ["basic", "moderate", "full"];

/// A mistake, its case in `tiers.c`, and when each tier catches it.
struct Row(&'static str, &'static str, [Caught; 3]);

const ROWS: &[Row] = &[
    Row("double free, at once", "double_free_at_once", [Later, AtOnce, AtOnce]),
    Row("… after other frees", "double_free_after_other_frees", [Later, AtOnce, AtOnce]),
    Row("… in another thread", "double_free_in_another_thread", [Perhaps, AtOnce, AtOnce]),
    Row("… of a block used again", "double_free_of_a_block_used_again", [No, No, AtOnce]),
    Row("… of a large block", "double_free_of_a_large_block", [AtOnce, AtOnce, AtOnce]),
    Row("free of a stack address", "free_of_a_stack_address", [AtOnce, AtOnce, AtOnce]),
    Row("… of a global", "free_of_a_global", [AtOnce, AtOnce, AtOnce]),
    Row("… of a mapping", "free_of_a_mapping", [AtOnce, AtOnce, AtOnce]),
    Row("… in another heap than its own", "free_in_another_heap", [AtOnce, AtOnce, AtOnce]),
    Row("… inside a small block", "free_inside_a_small_block", [Later, AtOnce, AtOnce]),
    Row("… inside a large block", "free_inside_a_large_block", [AtOnce, AtOnce, AtOnce]),
    Row("wrong size, of another class", "wrong_size_of_another_class", [No, AtOnce, AtOnce]),
    Row("wrong size, of the same class", "wrong_size_of_the_same_class", [No, AtOnce, AtOnce]),
    Row("wrong alignment", "wrong_alignment", [No, AtOnce, AtOnce]),
    Row("realloc of a freed block", "realloc_of_a_freed_block", [Later, AtOnce, AtOnce]),
    Row("one byte past the end", "one_byte_past_the_end", [No, No, AtOnce]),
    Row("… of a large block", "one_byte_past_the_end_of_a_large_block", [No, No, AtAccess]),
    Row(
        "… whose size is no multiple of 16",
        "one_byte_past_the_end_of_an_odd_large_block",
        [No, No, AtOnce],
    ),
    Row("from a large block into the next", "into_the_next_large_block", [No, No, AtAccess]),
    Row(
        "… through to the next large block",
        "through_to_the_next_large_block",
        [No, Later, AtAccess],
    ),
    Row(
        "from a slab's last block into the next slab",
        "through_to_the_next_slab",
        [No, Later, AtOnce],
    ),
    Row(
        "… into the run behind the slab",
        "through_to_the_run_behind_a_slab",
        [No, Later, AtAccess],
    ),
    Row(
        "from a region's last block into the next region",
        "through_to_the_next_region",
        [Faults, Faults, Faults],
    ),
    Row("one byte before the start", "one_byte_before_the_start", [No, AtOnce, AtOnce]),
    Row("… of a large block", "one_byte_before_the_start_of_a_large_block", [No, AtOnce, AtOnce]),
    Row("… a page before it", "before_the_pages_of_a_large_block", [No, No, AtAccess]),
    Row("write after free", "write_after_free", [No, No, Later]),
    Row("… of a large block", "write_after_free_of_a_large_block", [No, No, AtAccess]),
    Row("read after free", "read_after_free", [No, No, No]),
    Row("… of a large block", "read_after_free_of_a_large_block", [No, No, AtAccess]),
    Row("nothing", "nothing_wrong", [No, No, No]),
];

/// Either front end, if one is named; else the one that the process chooses.
type FrontEnd = Option<&'static str>;

/// What a case may be reported as, by how its name begins. A report that comes later may
/// name the damage instead.
const KINDS: &[(&str, &[&str])] = &[
    ("double_free", &["double free"]),
    ("free_", &["invalid pointer"]),
    ("wrong_", &["wrong layout"]),
    ("realloc_of_a_freed", &["double free"]),
    ("one_byte_past", &["written past its end", "access past its end"]),
    ("into_the_next", &["access past its end"]),
    ("through_to_the_next_large", &["written before its start", "access past its end"]),
    ("through_to_the_next_slab", &["written before its start", "written past its end"]),
    ("through_to_the_run", &["written before its start", "access before its start"]),
    ("one_byte_before", &["written before its start"]),
    ("before_the_pages", &["access before its start"]),
    ("write_after_free", &["written to after it was freed", "use after free"]),
    ("read_after_free", &["use after free"]),
];

/// What to do next, by what is wrong.
const ADVICE: &[(&str, &str)] = &[
    ("double free", "second owner"),
    ("invalid pointer", "free what was allocated, by its first byte"),
    ("wrong layout", "with the size and alignment"),
    ("written past its end", "at its size"),
    ("access past its end", "at the block's size"),
    ("written before its start", "indices below 0"),
    ("access before its start", "indices below 0"),
    ("written to after it was freed", "pointers that are kept"),
    ("use after free", "who kept the pointer"),
];

/// The report says what happened and what to do next; and the block's size, its class
/// or its run, where the heap has, or had, a block there.
fn says_all(case: &str, report: &str, all: &str) -> Result<()> {
    let of_case = KINDS.iter().find(|(start, _)| case.starts_with(start));
    let (_, kinds) = of_case.context("a case of no kind")?;
    let kind = kinds.iter().find(|kind| report.contains(*kind));
    let kind = kind.with_context(|| format!("{report:?} says none of {kinds:?}"))?;
    let (_, advice) = ADVICE.iter().find(|(of, _)| of == kind).context("no advice")?;
    let next = all.lines().filter(|line| line.starts_with("granule: ")).nth(1);
    ensure!(next.is_some_and(|next| next.contains(advice)), "no {advice:?} in {all:?}");
    let foreign =
        ["stack", "global", "mapping", "another_heap"].iter().any(|part| case.contains(part));
    let gone = case == "double_free_of_a_large_block";
    let placed = ["(a block of ", "(in a slab of blocks of ", "(in a run of "]
        .iter()
        .any(|part| report.contains(part));
    ensure!(placed || foreign || gone, "{report:?} says neither size nor class nor run");
    Ok(())
}

fn caught(case: &str, tier: &str, linkage: Linkage, front_end: FrontEnd) -> Result<Caught> {
    let program = Source::new("tiers.c").program(linkage)?;
    let mut run = program.run()?.arg(case).env("GRANULE_CHECK", tier);
    if let Some(front_end) = front_end {
        run = run.env("GRANULE_FRONTEND", front_end);
    }
    if case == "through_to_the_next_region" {
        // So that there are several.
        run = run.address_space(512 << 20);
    }
    let outcome = run.outcome()?;
    let told = || format!("{case}, {tier}, {linkage:?}: {}", outcome.describe());
    if outcome.exit == Exit::Code(0) {
        return Ok(No);
    }
    let mut lines = outcome.stdout.lines();
    if outcome.exit == Exit::Signal(libc::SIGSEGV) {
        let silent = outcome.stderr.is_empty() && lines.nth(1) == Some("faulted");
        ensure!(silent && lines.next().is_none(), "{}", told());
        return Ok(Faults);
    }
    ensure!(outcome.exit == Exit::Signal(libc::SIGABRT), "{}", told());
    let pointer = lines.next().with_context(told)?;
    let report = outcome.stderr.lines().find(|line| line.starts_with("granule: 0x"));
    let report = report.with_context(told)?;
    if lines.next() != Some("accessed") {
        ensure!(report.contains(pointer) && report.contains(" at 0x"), "{}", told());
        says_all(case, report, &outcome.stderr).with_context(told)?;
        return Ok(AtAccess);
    }
    let survived = lines.next() == Some("survived");
    // A later report may name another block that the mistake has damaged.
    ensure!(survived || report.contains(pointer), "{}", told());
    // Where every call is checked, who allocated is told with the size.
    let tracked = tier == "moderate" || tier == "full";
    let named = !report.contains("(a block of ") || report.contains("allocated by thread ");
    ensure!(!tracked || named, "{}", told());
    says_all(case, report, &outcome.stderr).with_context(told)?;
    Ok(if survived { Later } else { AtOnce })
}

fn tier(index: usize) -> Result<()> {
    let mut wrong = Vec::new();
    for Row(_, case, expected) in ROWS {
        for (linkage, front_end) in
            [(Linkage::Preload, None), (Linkage::Preload, Some("thread")), (Linkage::Static, None)]
        {
            let found = caught(case, TIERS[index], linkage, front_end)?;
            let fits = match expected[index] {
                Perhaps => matches!(found, Later | No),
                expected => found == expected,
            };
            if !fits {
                let expected = expected[index];
                wrong.push(format!(
                    "{case}, {linkage:?} {front_end:?}: {found:?}, not {expected:?}"
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}: {}", TIERS[index], wrong.join("; "));
    Ok(())
}

#[test]
fn basic() -> Result<()> {
    tier(0)
}

#[test]
fn moderate() -> Result<()> {
    tier(1)
}

#[test]
fn full() -> Result<()> {
    tier(2)
}

/// The number behind `what`, up to what ends it.
fn number<'a>(report: &'a str, what: &str) -> Result<&'a str> {
    let rest = report.split_once(what).with_context(|| format!("no {what:?} in {report:?}"))?.1;
    rest.split([' ', ',', ')']).next().context("no number")
}

#[test]
fn reports_tell_who_allocated_and_who_freed() -> Result<()> {
    for tier in ["moderate", "full"] {
        for linkage in [Linkage::Preload, Linkage::Static] {
            for case in [
                "who_freed_a_small_block",
                "who_freed_a_large_block",
                "who_freed_a_reallocated_block",
            ] {
                let program = Source::new("tiers.c").program(linkage)?;
                let outcome = program.run()?.arg(case).env("GRANULE_CHECK", tier).outcome()?;
                let told = || format!("{case} {tier} {linkage:?}: {}", outcome.describe());
                let report = outcome.stderr.lines().next().with_context(told)?;
                let said: Vec<_> = outcome.stdout.lines().collect();
                let [pointer, allocated, freed, alloc_at, free_at, ..] = said[..] else {
                    anyhow::bail!("{}", told());
                };
                ensure!(
                    report.starts_with(&format!("granule: {pointer}: double free")),
                    "{}",
                    told()
                );
                ensure!(number(report, "allocated by thread ")? == allocated, "{}", told());
                ensure!(number(report, "freed by thread ")? == freed, "{}", told());
                // The calls return into the functions that made them.
                let (by, freed_by) = report.split_once(", freed by ").with_context(told)?;
                for (line, function) in [(by, alloc_at), (freed_by, free_at)] {
                    let at = line.rsplit_once(" at 0x").with_context(told)?.1;
                    let at = u64::from_str_radix(at, 16)?;
                    let from = u64::from_str_radix(function.trim_start_matches("0x"), 16)?;
                    ensure!((from..from + 200).contains(&at), "{}", told());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_unknown_tier_is_basic() -> Result<()> {
    for tier in ["", "Full", "strict", "none"] {
        let case = "one_byte_past_the_end";
        ensure!(caught(case, tier, Linkage::Preload, None)? == No, "{tier:?}");
    }
    Ok(())
}

/// Every row of the README's table has its case here, and every case its row, in order.
#[test]
fn the_readme_has_the_table() -> Result<()> {
    let readme = include_str!("../../README.md");
    let head = "| mistake | basic | moderate | full |";
    let rows = readme.lines().skip_while(|line| *line != head).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    let tested = ROWS.iter().filter(|Row(_, case, _)| *case != "nothing_wrong");
    let tested = tested.map(|Row(mistake, _, caught)| {
        let [basic, moderate, full] = caught.map(Caught::name);
        format!("| {mistake} | {basic} | {moderate} | {full} |")
    });
    let tested: Vec<_> = tested.collect();
    ensure!(!rows.is_empty() && rows == tested, "the README has {rows:#?}, tests {tested:#?}");
    Ok(())
}

/// No case of a mistake is left out: those that are not in the table are of other tests.
#[test]
fn every_case_has_a_row() -> Result<()> {
    let program = Source::new("tiers.c").program(Linkage::Plain)?;
    let list = program.run()?.arg("--list").success()?;
    let others = list.lines().filter(|case| !ROWS.iter().any(|Row(_, of, _)| of == case));
    let others: Vec<_> = others.filter(|case| !case.starts_with("who_freed_")).collect();
    ensure!(others.is_empty(), "in no row: {others:?}");
    Ok(())
}
