//! The stages that run real programs on granule.

use super::{Output, Stage};
use crate::allocator::{Allocator, Preload};
use crate::programs::{Judge, Program, Scale, TEST};
use crate::setup::Need;
use anyhow::Result;
use std::cell::OnceCell;
use std::rc::Rc;

/// What all of them need.
pub(super) fn needs() -> Vec<&'static Need> {
    TEST.iter().flat_map(|program| program.needs).collect()
}

/// One stage to build the library and prove that it serves, then one a program.
pub(super) fn stages() -> Vec<Stage> {
    let library = Rc::new(Library::default());
    let mut stages = Vec::new();
    let shared = Rc::clone(&library);
    stages.push(Stage {
        name: "libgranule.so builds and serves a preload".to_owned(),
        output: Output::Shown,
        work: Box::new(move || shared.get().map(|_| ())),
    });
    for program in TEST {
        let shared = Rc::clone(&library);
        stages.push(Stage {
            name: program.name.to_owned(),
            output: Output::Quiet,
            work: Box::new(move || check(program, &shared.get()?)),
        });
    }
    stages
}

/// The library under test, built once, by whichever stage is first to need it.
#[derive(Default)]
struct Library(OnceCell<Preload>);

impl Library {
    fn get(&self) -> Result<Preload> {
        if let Some(ready) = self.0.get() {
            return Ok(ready.clone());
        }
        let ready = Allocator::Granule.ready()?;
        Ok(self.0.get_or_init(|| ready).clone())
    }
}

/// Runs one program on granule, and on glibc to compare where that is the test.
fn check(program: &Program, granule: &Preload) -> Result<()> {
    program.prove(granule)?;
    let seen = program.observe(granule, Scale::Test)?;
    if program.judge == Judge::SameOutput {
        let glibc = Allocator::Glibc.ready()?;
        seen.require_same(&program.observe(&glibc, Scale::Test)?)?;
    }
    Ok(())
}
