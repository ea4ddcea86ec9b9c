//! What the walk over cached objects finds.

use crate::base::sync::atomic::AtomicPtr;
use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use crate::base::class::Class;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, for_ever, interrupt, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

type TestHeap = Heap<TestConfig>;

const WORDS: Layout = Layout::new::<[u64; 8]>();

fn heap() -> &'static TestHeap {
    migrate(0);
    let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn alloc(heap: &TestHeap) -> NonNull<u8> {
    NonNull::new(heap.alloc(WORDS)).expect("memory")
}

/// Frees as often as is said; the second time is a mistake.
fn free(heap: &TestHeap, block: NonNull<u8>) {
    // SAFETY: of that layout; the heap is broken on purpose, and is not used
    // but for the walk once it is.
    unsafe { heap.dealloc(block, WORDS) };
}

/// Fills slots, stashes and depot, of two CPUs.
fn cached(heap: &TestHeap, count: usize) -> Vec<NonNull<u8>> {
    let blocks: Vec<_> = (0..count).map(|_| alloc(heap)).collect();
    for (number, block) in blocks.iter().enumerate() {
        migrate(number * 2 / count);
        free(heap, *block);
    }
    migrate(0);
    blocks
}

fn violated(heap: &TestHeap) -> &'static str {
    heap.check().expect_err("a fault was put in").invariant
}

#[test]
fn every_cached_object_is_looked_at() {
    let heap = heap();
    for count in [1, unless_miri(100, 20), unless_miri(20_000, 100)] {
        cached(heap, count);
        let seen = heap.check().expect("a whole heap");
        assert_eq!(seen.cached * 64, heap.stats().cached_bytes);
        assert!(seen.cached > 0);
    }
    heap.reclaim();
    assert_eq!(heap.check().expect("a whole heap").cached, 0);
}

#[test]
fn an_object_cached_twice_violates_c1() {
    let heap = heap();
    cached(heap, unless_miri(5000, 150));
    let block = alloc(heap);
    heap.check().expect("a whole heap");
    free(heap, block);
    free(heap, block);
    assert_eq!(violated(heap), "C1");
}

#[test]
fn an_object_in_two_caches_violates_c1() {
    let heap = heap();
    let (block, other) = (alloc(heap), alloc(heap));
    migrate(1);
    free(heap, other);
    free(heap, block);
    migrate(0);
    free(heap, block);
    assert_eq!(violated(heap), "C1");
}

#[test]
fn an_object_cached_and_free_in_its_slab_violates_s1() {
    let heap = heap();
    // So that the slab is not retired, nor the object cached by chance.
    let (_kept, block) = (alloc(heap), alloc(heap));
    let class = Class::of(WORDS.size(), WORDS.align());
    interrupt(|| {
        heap.lower.slabs.release(&heap.lower.regions, class, &[AtomicPtr::new(block.as_ptr())]);
    });
    heap.check().expect("a whole heap");
    free(heap, block);
    assert_eq!(violated(heap), "S1");
}

#[test]
fn an_object_of_another_class_violates_c1() {
    let heap = heap();
    let other = NonNull::new(heap.alloc(Layout::new::<[u64; 30]>())).expect("memory");
    free(heap, alloc(heap));
    heap.check().expect("a whole heap");
    free(heap, other);
    assert_eq!(violated(heap), "C1");
    // SAFETY: inside the block.
    let inside = unsafe { alloc(heap).add(8) };
    free(heap, inside);
    assert_eq!(violated(heap), "C1");
}
