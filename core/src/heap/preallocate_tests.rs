//! Pages set aside, what stays of them, and huge pages.

use std::alloc::Layout;
use std::vec::Vec;

use core::ptr::NonNull;

use super::*;
use crate::base::bytes::is_all;
use crate::base::limits::{HugePages, Limits};
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{
    TestConfig, TestCpu, TestEnv, advance, for_ever, keep, unless_miri,
};
use crate::provider::{Capabilities, NoPages};

const MIB: usize = 1 << 20;

/// Keeps a mebibyte, in pages of 4 KiB.
struct Keeps;

impl Config for Keeps {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LIMITS: Limits = Limits { resident_min: MIB, ..Limits::BALANCED };
}

/// Uses huge pages.
struct Huge;

impl Config for Huge {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LIMITS: Limits = Limits { huge_pages: HugePages::Wanted, ..Limits::BALANCED };
}

/// Keeps little.
struct Frugal;

impl Config for Frugal {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LIMITS: Limits = Limits::FRUGAL;
}

/// Only added memory.
struct Banks;

impl Config for Banks {
    type Pages = NoPages;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

fn heap<C>(limit: usize) -> &'static Heap<C>
where
    C: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>>,
{
    let arena = Arena::new(PAGE_SIZE, Capabilities::all(), limit).in_steps_of(limit / 2);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn take<C: Config>(heap: &Heap<C>, bytes: usize) -> (NonNull<u8>, Layout) {
    let layout = Layout::from_size_align(bytes, 8).expect("a layout");
    (NonNull::new(heap.alloc(layout)).expect("memory"), layout)
}

fn give<C: Config>(heap: &Heap<C>, block: (NonNull<u8>, Layout)) {
    // SAFETY: from `take`, once.
    unsafe { heap.dealloc(block.0, block.1) };
}

/// Lets all that is idle go back.
fn settle<C: Config>(heap: &'static Heap<C>) {
    for _ in 0..4 {
        advance(C::LIMITS.purge_delay_ms);
        give(heap, take(heap, 40 * PAGE_SIZE));
        give(heap, take(heap, 40 * PAGE_SIZE));
    }
}

#[test]
fn what_fits_asks_for_nothing_more() {
    for backing in [Backing::WhenTouched, Backing::AtOnce] {
        let heap = heap::<TestConfig>(16 * MIB);
        heap.preallocate(3 * MIB, backing).expect("memory");
        let resident = if backing == Backing::AtOnce { 3 * MIB } else { 0 };
        assert_eq!(heap.stats().resident_free_bytes, resident, "{backing:?}");
        heap.check().expect("whole");
        heap.provider().refuse(Refuse::FromCall(0));
        let blocks: Vec<_> = (0..unless_miri(500, 50)).map(|_| take(heap, 1000)).collect();
        let zeros = heap.alloc_zeroed(Layout::new::<[u8; MIB]>());
        // SAFETY: a block of a mebibyte.
        let zeros = unsafe { core::slice::from_raw_parts(zeros, MIB) };
        assert!(is_all(zeros, 0), "what was touched is still zero");
        blocks.into_iter().for_each(|block| give(heap, block));
        heap.preallocate(MIB / 2, backing).expect("still free");
        assert_eq!(heap.provider().calls(), 0, "the provider is asked for nothing");
        heap.check().expect("whole");
    }
}

#[test]
fn what_is_to_stay_is_not_purged_and_the_rest_is() {
    let heap = heap::<Keeps>(16 * MIB);
    heap.preallocate(3 * MIB, Backing::AtOnce).expect("memory");
    settle(heap);
    let stats = heap.stats();
    // One block of those that came and went is cached.
    let idle = stats.resident_free_bytes + stats.parked_bytes;
    assert!((MIB..MIB + 16 * PAGE_SIZE).contains(&idle), "{idle} stays");
    let purged = heap.provider().purged();
    settle(heap);
    let more = heap.provider().purged() - purged;
    assert!(more <= 40 * PAGE_SIZE, "{more} more is purged of what stays");
    heap.check().expect("whole");
    assert!(heap.reclaim() >= idle, "all goes when it is asked for");
    assert_eq!(heap.stats().resident_free_bytes, 0);
}

#[test]
fn idle_pages_are_purged_by_default() {
    let heap = heap::<TestConfig>(16 * MIB);
    heap.preallocate(3 * MIB, Backing::AtOnce).expect("memory");
    settle(heap);
    assert!(heap.stats().resident_free_bytes < 64 * PAGE_SIZE);
    heap.check().expect("whole");
}

#[test]
fn a_region_that_is_needed_for_what_stays_is_not_released() {
    let heap = heap::<Keeps>(4 * MIB);
    // The first region has less than what is to stay.
    let block = take(heap, 2 * MIB - MIB / 2);
    heap.preallocate(MIB + MIB / 2, Backing::WhenTouched).expect("memory");
    assert_eq!(heap.stats().regions, 2);
    advance(Limits::BALANCED.release_delay_ms);
    settle(heap);
    assert_eq!(heap.stats().regions, 2, "it stays");
    give(heap, block);
    advance(Limits::BALANCED.release_delay_ms);
    settle(heap);
    assert_eq!(heap.stats().regions, 1, "the first has enough again");
    heap.check().expect("whole");
}

#[test]
fn too_much_is_refused_and_nothing_is_touched() {
    let heap = heap::<TestConfig>(4 * MIB);
    for bytes in [5 * MIB, usize::MAX, usize::MAX / 2] {
        assert!(heap.preallocate(bytes, Backing::AtOnce).is_err());
        assert_eq!(heap.stats().resident_free_bytes, 0);
        heap.check().expect("whole");
    }
    heap.preallocate(0, Backing::AtOnce).expect("nothing is there");
    give(heap, take(heap, MIB));
}

#[test]
fn pieces_of_several_banks_count_together() {
    let heap = for_ever(Heap::<Banks>::new(NoPages, Guarded::new()));
    for pages in [40, 100, 300] {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a layout");
        // SAFETY: not empty.
        let start = NonNull::new(unsafe { std::alloc::alloc(layout) }).expect("memory");
        keep(start);
        // SAFETY: the heap's for ever; its contents do not matter.
        unsafe { heap.add_region(start, layout.size()) }.expect("room");
    }
    heap.preallocate(380 * PAGE_SIZE, Backing::AtOnce).expect("three pieces or more");
    heap.check().expect("whole");
    assert!(heap.preallocate(450 * PAGE_SIZE, Backing::AtOnce).is_err(), "tables take some");
    heap.check().expect("whole");
    let blocks: Vec<_> = [280, 90, 30].map(|pages| take(heap, pages * PAGE_SIZE)).into();
    blocks.into_iter().for_each(|block| give(heap, block));
    heap.check().expect("whole");
}

#[test]
fn huge_pages_are_refused_where_regions_are_small() {
    let heap = heap::<Frugal>(16 * MIB);
    give(heap, take(heap, 3 * MIB));
    assert_eq!(heap.provider().refused_huge(), heap.stats().reserved);
    assert_eq!(heap.provider().advised(), 0);
    // In a small region that nobody has spoken of: for its pages, at least.
    let heap = self::heap::<TestConfig>(16 * MIB);
    give(heap, take(heap, 3 * MIB));
    let refused = heap.provider().refused_huge();
    assert!((7 * MIB..heap.stats().reserved).contains(&refused), "{refused}");
}

#[test]
fn huge_pages_are_committed_and_purged_whole() {
    const HUGE: usize = 2 * MIB;
    let heap = heap::<Huge>(64 * MIB);
    let blocks: Vec<_> = (0..12).map(|_| take(heap, MIB + PAGE_SIZE)).collect();
    assert!(heap.provider().advised() >= 12 * MIB);
    assert_eq!(heap.provider().advised() % HUGE, 0, "committed in whole ones");
    // Four in a row, with at least one whole huge page; and a single one.
    for (number, block) in blocks.iter().enumerate() {
        if matches!(number, 2..=5 | 8) {
            give(heap, *block);
        }
    }
    heap.provider().take_purges();
    settle(heap);
    let purges = heap.provider().take_purges();
    assert!(!purges.is_empty(), "a whole one is free");
    for (start, bytes) in purges {
        assert!(start.is_multiple_of(HUGE) && bytes.is_multiple_of(HUGE), "{start:x} {bytes:x}");
    }
    heap.check().expect("whole");
    // What is left of them goes when memory is short.
    let before = heap.provider().purged();
    heap.reclaim();
    let edges = heap.provider().purged() - before;
    assert!(edges >= 2 * MIB, "{edges} of broken huge pages");
    heap.reclaim();
    assert_eq!(heap.provider().purged() - before, edges, "once");
    heap.check().expect("whole");
    for (number, block) in blocks.iter().enumerate() {
        if !matches!(number, 2..=5 | 8) {
            give(heap, *block);
        }
    }
    settle(heap);
    let idle = heap.stats().resident_free_bytes;
    assert!(idle < 2 * HUGE, "{idle} in parts of huge pages");
    heap.check().expect("whole");
}
