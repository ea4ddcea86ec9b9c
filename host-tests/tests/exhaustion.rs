//! Memory that cannot be had: a provider that fails at every single call in
//! turn, and one that has no more.

use std::alloc::Layout;
use std::ptr::NonNull;

use granule_core::Heap;
use granule_host_tests::model::faulty::Faulty;
use granule_host_tests::model::fixtures::{HoppingCpus, OneCpu, Tested, heap};
use granule_host_tests::model::script::{Random, play};
use granule_host_tests::model::{Fill, Shadow, check_empty};

type TestHeap = Heap<Tested<Faulty, OneCpu>>;

/// A program that calls its provider in every way: it grows, remaps, purges
/// and releases. Returns how often memory was short.
fn program(heap: &'static TestHeap, seed: u64) -> usize {
    let mut shadow = Shadow::new(heap);
    let mut random = Random::new(seed);
    let mut failures = play(&mut shadow, &mut random, 400, 150, 600_000);
    for size in [3 << 20, 5 << 20, 1 << 20] {
        let layout = Layout::from_size_align(2 << 20, 8).expect("a layout");
        failures += usize::from(!shadow.alloc(layout, Fill::Zero));
        failures += usize::from(!shadow.realloc(shadow.len().saturating_sub(1), size));
        shadow.check_counts();
    }
    failures += play(&mut shadow, &mut random, 200, 50, 600_000);
    shadow.check_counts();
    shadow.free_all(7);
    check_empty(heap);
    failures
}

#[test]
fn every_single_call_fails_in_turn_and_nothing_is_lost() {
    let heap: &'static TestHeap = heap(Faulty::new(usize::MAX));
    heap.provider().refuse(usize::MAX);
    assert_eq!(program(heap, 1), 0);
    let calls = heap.provider().relent();
    assert!(calls > 50, "the program makes {calls} calls only");

    let (mut number, mut refusals, mut reached) = (0, 0, true);
    while reached {
        // A heap of its own, so that growth from nothing fails as well.
        let heap: &'static TestHeap =
            granule_host_tests::model::fixtures::heap(Faulty::new(usize::MAX));
        heap.provider().refuse(number);
        refusals += program(heap, 1);
        reached = heap.provider().relent() > number;
        // Usable as ever, with nothing missing, and everything given back.
        assert_eq!(program(heap, 2), 0, "after a failure of call {number}");
        let stats = heap.stats();
        assert!(
            heap.provider().reserved() <= stats.reserved + (6 << 20),
            "call {number}: {stats:?}"
        );
        number += 1;
    }
    assert!(number > 50 && refusals == 0, "{number} calls, {refusals} requests refused");
}

/// All that can be had in blocks of one layout.
fn take_all(heap: &TestHeap, layout: Layout) -> Vec<NonNull<u8>> {
    std::iter::from_fn(|| NonNull::new(heap.alloc(layout))).collect()
}

#[test]
fn exhaustion_ends_in_null_and_is_over_when_memory_is_freed() {
    const LIMIT: usize = 24 << 20;
    let heap: &'static TestHeap = heap(Faulty::new(LIMIT));
    let mut first = None;
    for round in 0..3 {
        for size in [40_000, 1024, 48, 300_000, 16, 4096, 8] {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            let blocks = take_all(heap, layout);
            assert!(blocks.len() * size > LIMIT / 2, "round {round}: {} of {size}", blocks.len());
            // Full means full, for other requests too; and they change nothing.
            let large = Layout::from_size_align(4 << 20, 8).expect("a layout");
            assert!(heap.alloc(large).is_null() && heap.alloc_zeroed(large).is_null());
            // SAFETY: the block is live and of that layout.
            let moved = unsafe { heap.realloc(blocks[0], layout, 4 << 20) };
            assert!(moved.is_null());
            for block in blocks {
                // SAFETY: live, of that layout, freed once.
                unsafe { heap.dealloc(block, layout) };
            }
            check_empty(heap);
        }
        let now = heap.provider().reserved();
        assert!(now <= *first.get_or_insert(now) + (4 << 20), "round {round} leaves {now} bytes");
    }
}

#[test]
fn impossible_layouts_are_refused_and_change_nothing() {
    let heap: &'static Heap<Tested<Faulty, HoppingCpus>> = heap(Faulty::new(64 << 20));
    let mut shadow = Shadow::new(heap);
    assert!(shadow.alloc(Layout::new::<[u64; 100]>(), Fill::Any));
    let before = heap.stats();
    heap.provider().refuse(usize::MAX);
    for (size, align) in [
        (isize::MAX as usize, 1),
        (isize::MAX as usize - 4095, 4096),
        (1 << 50, 8),
        (1, 1 << 62),
        (usize::MAX / 4, 1 << 40),
    ] {
        let layout = Layout::from_size_align(size, align).expect("a valid layout");
        assert!(heap.alloc(layout).is_null(), "{layout:?}");
        assert!(heap.alloc_zeroed(layout).is_null(), "{layout:?}");
        let larger = size.max(1 << 42);
        assert!(!shadow.realloc(0, larger), "{larger}");
    }
    let after = heap.stats();
    assert_eq!((after.live_bytes(), after.reserved), (before.live_bytes(), before.reserved));
    shadow.check_counts();
    shadow.free_all(1);
    check_empty(heap);
}

#[test]
fn random_programs_on_the_edge_of_memory() {
    for seed in 0..6 {
        let heap: &'static Heap<Tested<Faulty, HoppingCpus>> = heap(Faulty::new(12 << 20));
        let mut shadow = Shadow::new(heap);
        let mut random = Random::new(seed);
        let failures = play(&mut shadow, &mut random, 3000, 600, 2 << 20);
        assert!(failures > 0, "seed {seed} never ran out");
        shadow.check_counts();
        shadow.free_all(seed as usize);
        check_empty(heap);
    }
}
