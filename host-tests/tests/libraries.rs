//! Other shared libraries beside ours: constructors, destructors, plugins.
//!
//! A static program has none; `life.c` covers what it does around main.
#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use granule_host_tests::suite::run_cases_with;
use granule_host_tests::{Linkage, Program, Run, Source, library};

const UNLOADED: &str = "neighbour unloaded\n";

fn neighbour() -> Source {
    Source::new("neighbour.c")
}

fn beside(linkage: Linkage) -> Result<Program> {
    Source::new("beside.c").library(&neighbour().plugin()?).program(linkage)
}

fn check(run: Run) -> Result<()> {
    let output = run.arg("blocks_change_hands").success()?;
    ensure!(output == UNLOADED, "the neighbour's destructor printed {output:?}");
    Ok(())
}

#[test]
fn a_dependency_allocates_in_its_constructor_preload() -> Result<()> {
    check(beside(Linkage::Preload)?.run()?)
}

#[test]
fn a_dependency_allocates_in_its_constructor_dynamic() -> Result<()> {
    check(beside(Linkage::Dynamic)?.run()?)
}

/// Runs `/bin/true` with both libraries preloaded, in the order given.
fn preloaded_together(ours_first: bool) -> Result<()> {
    let mut libraries = [library::shared()?, neighbour().plugin()?];
    if !ours_first {
        libraries.reverse();
    }
    let run = libraries.into_iter().fold(Run::new("/bin/true"), Run::preload);
    let output = run.success()?;
    ensure!(output == UNLOADED, "the neighbour's destructor printed {output:?}");
    Ok(())
}

#[test]
fn preloaded_before_a_library_that_allocates() -> Result<()> {
    preloaded_together(true)
}

#[test]
fn preloaded_after_a_library_that_allocates() -> Result<()> {
    preloaded_together(false)
}

fn plugins(linkage: Linkage) -> Result<()> {
    let plugin = neighbour().plugin()?;
    let source = Source::new("plugins.c");
    run_cases_with(&source, linkage, |run| run.env("PLUGIN", &plugin))
}

#[test]
fn plugins_come_and_go_preload() -> Result<()> {
    plugins(Linkage::Preload)
}

#[test]
fn plugins_come_and_go_dynamic() -> Result<()> {
    plugins(Linkage::Dynamic)
}
