//! A walk finds nothing in a whole region, and each fault that is put into one.

use std::vec::Vec;

use super::*;
use crate::base::units::PAGE_SIZE;
use crate::check::arena::Arena;
use crate::check::surroundings::TestConfig;
use crate::provider::{Capabilities, Node};
use crate::region::Contents;
use crate::region::Near;
use crate::region::runs::Stamp;

/// Used runs of 1 to 9 pages with free ones between, and a long one behind.
fn regions() -> (Arena, Regions<TestConfig>, Vec<NonNull<u8>>) {
    let arena = Arena::new(4096, Capabilities::all(), 16 << 20);
    let regions = Regions::new();
    let take = |pages| {
        let near = Near::Only(Node(0));
        regions.take(&arena, near, PageCount(pages), 1, Class::LARGE).expect("memory").start
    };
    regions.give(take(64), Contents::Dirty, 0).expect("used");
    let mut runs: Vec<_> = (1..10).map(take).collect();
    for at in [6, 4, 1] {
        regions.give(runs.remove(at), Contents::Dirty, 0).expect("used");
    }
    (arena, regions, runs)
}

fn walk(regions: &Regions<TestConfig>) -> Result<usize, &'static str> {
    let mut pages = 0;
    let walked = regions.walk(|run| {
        pages += run.pages.get() as usize;
        Ok(())
    });
    walked.map(|()| pages).map_err(|violation| violation.invariant)
}

#[test]
fn a_whole_region_is_walked_to_its_end() {
    let (_arena, regions, _) = regions();
    assert_eq!(walk(&regions).map(|pages| pages * PAGE_SIZE), Ok(regions.stats().used));
}

/// Puts a fault in by what the closure does to the state and the region.
fn broken(fault: impl FnOnce(&mut State, &Region, u32)) -> &'static str {
    let (_arena, regions, runs) = regions();
    // The run of one page, with a free one of two pages behind it.
    let page = regions.locate(runs[0].as_ptr()).expect("ours").page;
    let mut fault = Some(fault);
    regions.find_region(|region| {
        // SAFETY: the lock is held, the one reference.
        let state = unsafe { region.state() };
        (fault.take()?)(state, region, page);
        Some(())
    });
    walk(&regions).expect_err("a fault was put in")
}

#[test]
fn every_fault_is_found() {
    assert_eq!(broken(|state, _, _| state.committed = 1), "G1");
    // A run that nobody marks any more.
    assert_eq!(broken(|state, _, page| state.view.unmark(page, 1)), "R1");
    // One that reaches into the next.
    assert_eq!(broken(|state, _, page| state.view.mark_used(page, 2)), "R1");
    // One that the engine does not know to be free, beside one that it does.
    assert_eq!(broken(|state, _, page| state.view.mark_free(page, 1)), "R2");
    // A free run in no bin.
    assert_eq!(broken(|state, _, _| state.runs.bins.set_head(2, NIL)), "R3");
    // One that is linked to itself.
    assert_eq!(broken(|state, _, page| state.view.set_links(page + 1, page + 1, NIL)), "R3");
    // One that is said to have no memory, and was counted.
    let forgotten = |state: &mut State, _: &Region, page| {
        state.view.set_stamp(page + 1, Stamp::CLEAN);
    };
    assert_eq!(broken(forgotten), "R4");
    // The same of a long one, whose record is in its tags.
    let long = |region: &Region| {
        let mut pages = 0..region.pages;
        let is_long = |&page: &u32| region.tables.free_run_at(page).is_some_and(|len| len >= 10);
        pages.find(is_long).expect("a long free run")
    };
    let fault = |state: &mut State, region: &Region, _| {
        state.view.set_links(long(region), long(region), NIL);
    };
    assert_eq!(broken(fault), "R3");
    let fault = |state: &mut State, region: &Region, _| {
        state.view.set_stamp(long(region), Stamp::CLEAN);
    };
    assert_eq!(broken(fault), "R4");
    // A mark within the record.
    for inside in [1, 8] {
        let fault = |state: &mut State, region: &Region, _| {
            state.view.mark_used(long(region) + inside, 1);
        };
        assert_eq!(broken(fault), "R1");
    }
    // A slab's page in a large run.
    let slab = Class::of(64, 8).byte();
    let fault = |_: &mut State, region: &Region, page: u32| {
        region.tables.class_byte(page + 4).store(slab, Relaxed);
    };
    assert_eq!(broken(fault), "R1");
}
