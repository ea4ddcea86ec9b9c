//! Calls that may not wait, beside and on top of the others.

use std::alloc::Layout;
use std::vec::Vec;

use core::ptr::NonNull;

use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, for_ever, interrupt, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

/// In Miri of the class with the smallest sheaves and slabs of the fewest objects.
const WORDS: Layout = Layout::new::<[u64; unless_miri(6, 4096)]>();

fn heap() -> &'static Heap<TestConfig> {
    let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn take(heap: &Heap<TestConfig>) -> Option<NonNull<u8>> {
    NonNull::new(heap.try_alloc_nolock(WORDS))
}

fn give(heap: &Heap<TestConfig>, block: NonNull<u8>) {
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc_nolock(block, WORDS) };
}

fn alloc(heap: &Heap<TestConfig>, count: usize) -> Vec<NonNull<u8>> {
    let blocks: Vec<_> = (0..count).filter_map(|_| NonNull::new(heap.alloc(WORDS))).collect();
    assert_eq!(blocks.len(), count);
    blocks
}

#[test]
fn an_empty_heap_has_nothing_without_the_provider() {
    let heap = heap();
    assert!(take(heap).is_none());
    assert_eq!(heap.stats().reserved, 0, "the provider was not asked");
}

#[test]
fn present_slabs_are_used_up_and_no_more() {
    let heap = heap();
    let first = alloc(heap, 1);
    let capacity = heap.class_stats(crate::base::class::Class::of(WORDS.size(), 8)).capacity;
    let rest: Vec<_> = core::iter::from_fn(|| take(heap)).collect();
    assert_eq!(rest.len() + 1, capacity, "every object of the slabs present");
    let mut all: Vec<_> = first.into_iter().chain(rest).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), capacity, "each once");
    all.into_iter().for_each(|block| give(heap, block));
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
fn large_blocks_are_refused_and_yet_freed() {
    let heap = heap();
    let large = Layout::new::<[u64; 40_000]>();
    assert!(heap.try_alloc_nolock(large).is_null());
    let block = NonNull::new(heap.alloc(large)).expect("memory");
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc_nolock(block, large) };
    assert!(heap.stats().large_bytes > 0, "put aside");
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(alloc(heap, 1)[0], WORDS) };
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
fn frees_beyond_the_cache_find_a_place_or_wait_for_one() {
    let heap = heap();
    const MANY: usize = unless_miri(2_000, 40);
    let blocks = alloc(heap, MANY);
    blocks.into_iter().for_each(|block| give(heap, block));
    assert!(!heap.cache.deferred.is_empty(), "more than the stash has sheaves for");
    // The next miss frees them all.
    let one = alloc(heap, MANY);
    assert!(heap.cache.deferred.is_empty());
    one.into_iter().for_each(|block| give(heap, block));
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

/// On top of an entry there is no cache: slabs serve, frees are put aside.
#[test]
fn on_top_of_an_entry_it_works_without_the_cache() {
    let heap = heap();
    let keep = alloc(heap, 3);
    let block = interrupt(|| take(heap)).expect("from the slab");
    interrupt(|| give(heap, block));
    assert!(!heap.cache.deferred.is_empty());
    keep.into_iter().for_each(|block| give(heap, block));
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

/// With every lock taken by somebody else, a call returns all the same.
#[test]
fn on_top_of_a_holder_of_every_lock_nothing_waits() {
    let heap = heap();
    let blocks = alloc(heap, unless_miri(200, 10));
    // Every lock of the heap, as `fork` closes them.
    heap.before_fork();
    let got: Vec<_> = core::iter::from_fn(|| take(heap)).collect();
    got.iter().chain(&blocks).for_each(|&block| give(heap, block));
    migrate(1);
    assert!(take(heap).is_none(), "another CPU has nothing cached");
    migrate(0);
    // SAFETY: just closed here.
    unsafe { heap.after_fork() };
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
#[should_panic(expected = "double free")]
fn a_block_put_aside_twice_is_a_double_free() {
    let heap = heap();
    let blocks = alloc(heap, 2);
    interrupt(|| give(heap, blocks[0]));
    interrupt(|| give(heap, blocks[1]));
    interrupt(|| give(heap, blocks[0]));
    heap.reclaim();
}
