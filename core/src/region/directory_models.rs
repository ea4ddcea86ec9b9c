//! The directory: a block that is live is found in its region, whatever
//! happens to other entries and however its own region grows.

use core::ptr::without_provenance;
use std::boxed::Box;

use super::*;
use crate::base::sync::atomic::AtomicBool;
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::Owned;

/// Regions that are only told apart, never looked into.
fn region(number: usize) -> *mut Region {
    core::ptr::without_provenance_mut(number << 12)
}

const OLD: usize = 0x10_0000;
const NEW: usize = 0x20_0000;

fn find(directory: &Directory, address: usize) -> Option<usize> {
    let found = directory.find_further(without_provenance(address));
    found.map(|(region, page)| {
        assert_eq!(page as usize, (address & 0xf_ffff) >> PAGE_SHIFT);
        region.addr().get() >> 12
    })
}

#[test]
fn an_entry_is_read_whole() {
    Model::new(|| {
        let directory = Owned::new(Directory::new());
        let directory = directory.lend();
        let entry = directory.claim().expect("the first");
        entry.set(OLD, PAGE_SIZE, region(1));
        let other = spawn(move || {
            // The region goes, and another one, with other bounds, comes.
            entry.set(NEW, 2 * PAGE_SIZE, region(2));
        });
        // Not live ones: found in their own region, or not at all.
        let found = [OLD, NEW + PAGE_SIZE].map(|address| find(directory, address));
        assert!([None, Some(1)].contains(&found[0]), "{found:?}");
        assert!([None, Some(2)].contains(&found[1]), "{found:?}");
        assert!(!(found[0].is_none() && found[1].is_none() && entry.region().is_none()));
        other.join();
        assert_eq!([OLD, NEW + PAGE_SIZE].map(|address| find(directory, address)), [None, Some(2)]);
    })
    .verify(&["directory.rs: version", "directory.rs: fence"]);
}

#[test]
fn a_live_block_is_found_while_its_region_grows() {
    Model::new(|| {
        let directory = Owned::new(Directory::new());
        let directory = directory.lend();
        let handed = Owned::new(AtomicBool::new(false));
        let handed = handed.lend();
        let other = spawn(move || {
            // A new region in a new entry, and a block of it handed over.
            let entry = directory.claim().expect("room");
            entry.set(NEW, PAGE_SIZE, region(2));
            handed.store(true, Ordering::Release);
            entry.set(NEW, 2 * PAGE_SIZE, region(2));
        });
        if handed.load(Ordering::Acquire) {
            assert_eq!(find(directory, NEW), Some(2), "D1: a live block is found");
        }
        other.join();
        assert_eq!(find(directory, NEW + PAGE_SIZE), Some(2));
    })
    .verify(&["directory_models.rs: handed.load"]);
}

#[test]
fn a_page_of_entries_is_seen_whole() {
    Model::new(|| {
        let directory = Owned::new(Directory::new());
        let directory = directory.lend();
        // Every inline entry has been used.
        directory.blocks.used.store(ENTRIES, Ordering::Relaxed);
        let page = Owned::new(Box::new(core::mem::MaybeUninit::<Block>::uninit()));
        let page = (&raw const **page.lend()).expose_provenance();
        let other = spawn(move || {
            let page = core::ptr::with_exposed_provenance_mut(page);
            // SAFETY: the model's own, as long as it runs.
            unsafe { directory.extend(NonNull::new(page).expect("not null")) };
            let further = directory.blocks().last().expect("one");
            further.claim().expect("room").set(NEW, PAGE_SIZE, region(2));
        });
        // Entries are looked at by anyone, at any time.
        for entry in directory.blocks().skip(1).flat_map(Block::entries) {
            let known = entry.region().is_none_or(|found| found.as_ptr() == region(2));
            assert!(known, "no other region");
        }
        other.join();
        let further = directory.blocks().nth(1).expect("one");
        assert!(further.entries().len() == 1);
    })
    .verify(&["directory.rs: next"]);
}
