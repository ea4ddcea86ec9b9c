//! `GRANULE_SAMPLE`: guard pages around one block in many, here around each.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Exit, Linkage, Outcome, Source, suite::FRONT_ENDS};

const LINKAGES: [Linkage; 3] = [Linkage::Preload, Linkage::Dynamic, Linkage::Static];

/// Runs `case` with every miss sampled, in every way of linking.
fn run(case: &str, sample: &str, judge: impl Fn(&Outcome) -> Result<()>) -> Result<()> {
    for linkage in LINKAGES {
        let program = Source::new("sampled.c").program(linkage)?;
        for front_end in FRONT_ENDS {
            let run = program.run()?.env("GRANULE_FRONTEND", front_end).arg(case);
            let outcome = run.env("GRANULE_SAMPLE", sample).outcome()?;
            judge(&outcome).with_context(|| {
                format!("{case} {linkage:?} {front_end}: {}", outcome.describe())
            })?;
        }
    }
    Ok(())
}

/// The report's first line, which names the last pointer that was printed.
fn report(outcome: &Outcome) -> Result<&str> {
    ensure!(outcome.exit == Exit::Signal(libc::SIGABRT), "no abort");
    let pointer = outcome.stdout.lines().last().context("no pointer")?;
    let report = outcome.stderr.lines().find(|line| line.starts_with("granule: 0x"));
    let report = report.context("no report")?;
    ensure!(report.starts_with(&format!("granule: {pointer}: ")), "not of {pointer}: {report}");
    let advice = outcome.stderr.lines().filter(|line| line.starts_with("granule: "));
    ensure!(advice.count() >= 2, "what to do next is missing");
    Ok(report)
}

fn is_reported(case: &str, pieces: &[&str]) -> Result<()> {
    run(case, "1", |outcome| {
        let report = report(outcome)?;
        let missing: Vec<_> = pieces.iter().filter(|piece| !report.contains(**piece)).collect();
        ensure!(missing.is_empty(), "{report:?} does not say {missing:?}");
        Ok(())
    })
}

fn ends(case: &str, sample: &str, exit: Exit, last: &str) -> Result<()> {
    run(case, sample, |outcome| {
        ensure!(outcome.exit == exit, "ended otherwise");
        ensure!(outcome.stderr.is_empty(), "it said something");
        ensure!(last.is_empty() || outcome.stdout.lines().last() == Some(last), "not {last:?}");
        Ok(())
    })
}

#[test]
fn an_overflow_faults() -> Result<()> {
    let pieces = ["access past its end at 0x", "(a block of 1000 bytes)", "allocated by thread "];
    is_reported("overflow_read", &pieces)?;
    is_reported("overflow_write", &pieces)
}

#[test]
fn an_underflow_faults() -> Result<()> {
    is_reported("underflow", &["access before its start at 0x", "(a block of 1000 bytes)"])
}

#[test]
fn a_use_after_free_faults() -> Result<()> {
    let pieces = ["use after free at 0x", "allocated by thread ", "freed by thread "];
    is_reported("use_after_free", &pieces)?;
    is_reported("write_after_free_in_another_block_s_time", &pieces[..1])
}

#[test]
fn a_block_that_realloc_moves_is_sampled_where_it_moves_to() -> Result<()> {
    let pieces = ["access past its end at 0x", "(a block of 1000 bytes)", "allocated by thread "];
    is_reported("overflow_of_a_grown_block", &pieces)?;
    let pieces = ["use after free at 0x", "allocated by thread ", "freed by thread ", " at 0x"];
    is_reported("use_after_free_of_a_grown_block", &pieces)
}

#[test]
fn mistakes_of_free_are_reported() -> Result<()> {
    is_reported("double_free", &["double free", "(a block of 1000 bytes)", "freed by thread "])?;
    is_reported("double_free_by_size", &["double free"])?;
    is_reported("free_inside", &["invalid pointer"])?;
    is_reported("written_behind", &["written past its end"])
}

/// The number behind `what`.
fn thread<'a>(report: &'a str, what: &str) -> Result<&'a str> {
    let rest = report.split_once(what).with_context(|| format!("no {what:?}"))?.1;
    rest.split([' ', ',']).next().context("no number")
}

#[test]
fn who_freed_is_told_from_who_allocated() -> Result<()> {
    run("double_free_in_another_thread", "1", |outcome| {
        let report = report(outcome)?;
        let by = [thread(report, "allocated by thread ")?, thread(report, "freed by thread ")?];
        ensure!(by[0] != by[1], "{report}");
        Ok(())
    })
}

#[test]
fn parent_and_child_have_their_own() -> Result<()> {
    run("after_fork", "1", |outcome| {
        report(outcome)?;
        let reports = outcome.stderr.lines().filter(|line| line.contains("use after free"));
        let freed: Result<Vec<_>> = reports.map(|one| thread(one, "freed by thread ")).collect();
        let freed = freed?;
        ensure!(freed.len() == 2 && freed[0] != freed[1], "the child has another number");
        Ok(())
    })
}

#[test]
fn a_program_s_own_handler_gets_what_is_its_own() -> Result<()> {
    ends("own_handler_gets_other_faults", "1", Exit::Code(7), "handled")?;
    ends("own_plain_handler_gets_other_faults", "1", Exit::Code(7), "handled plainly")?;
    is_reported("own_handler_does_not_get_ours", &["use after free"])
}

#[test]
fn other_signals_are_as_without() -> Result<()> {
    let killed = Exit::Signal(libc::SIGSEGV);
    ends("other_faults_end_the_program_as_ever", "1", killed, "")?;
    ends("signals_that_are_sent_end_the_program_as_ever", "1", killed, "")?;
    ends("signals_that_are_ignored_stay_ignored", "1", Exit::Code(7), "ignored")
}

#[test]
fn reports_come_on_the_alternate_stack() -> Result<()> {
    is_reported("reports_on_the_alternate_stack", &["use after free"])
}

#[test]
fn correct_programs_do_not_notice() -> Result<()> {
    for sample in ["1", "1,4096", "3,1", "on", "0", "yes"] {
        ends("nothing_wrong", sample, Exit::Code(7), "ended")?;
    }
    Ok(())
}
