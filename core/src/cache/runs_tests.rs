//! Runs that are cached, and what becomes of them.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::limits::Limits;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestCpu, TestEnv, advance, for_ever, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

type Front = Guarded<TestCpu, TestEnv, 2>;

/// Rounds runs up, as heaps do where untouched pages cost nothing.
struct Rounding;

impl Config for Rounding {
    type Pages = Arena;
    type Front = Front;
    type Env = TestEnv;

    const LAZY_PAGES: bool = true;
    const LIMITS: Limits =
        Limits { runs_min: 2 << 20, runs_max: 4 << 20, drain_idle_ms: 1000, ..Limits::BALANCED };
}

/// Takes runs as long as they are asked for.
struct Exact;

impl Config for Exact {
    type Pages = Arena;
    type Front = Front;
    type Env = TestEnv;
}

fn heap<C: Config<Pages = Arena, Front = Front>>() -> &'static Heap<C> {
    migrate(0);
    for_ever(Heap::new(Arena::new(4096, Capabilities::all(), 256 << 20), Front::new()))
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).expect("small")
}

fn alloc<C: Config>(heap: &Heap<C>, layout: Layout) -> NonNull<u8> {
    NonNull::new(heap.alloc(layout)).expect("memory")
}

fn free<C: Config>(heap: &Heap<C>, block: NonNull<u8>, layout: Layout) {
    // SAFETY: the tests' blocks are live, of that layout.
    unsafe { heap.dealloc(block, layout) };
}

/// Takes and frees a block as often as makes its class a cached one.
fn warm<C: Config>(heap: &Heap<C>, layout: Layout) {
    (0..2).for_each(|_| free(heap, alloc(heap, layout), layout));
}

const LARGE: Layout = Layout::new::<[u8; 100_000]>();

/// A cached run is neither live nor free, and comes back with the slot.
#[test]
fn the_second_free_of_a_class_is_cached() {
    let heap = heap::<Rounding>();
    let run = Class::of(LARGE.size(), 1).size();
    for round in 0..3 {
        let block = alloc(heap, LARGE);
        assert_eq!((heap.stats().large_bytes, heap.stats().parked_bytes), (run, 0));
        free(heap, block, LARGE);
        let parked = if round == 0 { 0 } else { run };
        let stats = heap.stats();
        assert_eq!((stats.live_bytes(), stats.parked_bytes), (0, parked), "round {round}");
        assert_eq!(heap.check().expect("sound").parked, usize::from(round > 0));
    }
    heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.live_bytes(), stats.parked_bytes), (0, 0));
}

#[test]
fn any_size_of_the_class_takes_the_run_again() {
    let heap = heap::<Rounding>();
    warm(heap, LARGE);
    for size in [98_305, 114_688, 100_001] {
        let (first, block) = (alloc(heap, LARGE), alloc(heap, bytes(size)));
        assert_ne!(first, block);
        free(heap, first, LARGE);
        let again = alloc(heap, bytes(size));
        assert_eq!(again, first);
        assert_eq!(heap.usable_size(again), Some(114_688));
        free(heap, again, bytes(size));
        free(heap, block, bytes(size));
    }
    // One more class, and one that is none.
    let other = alloc(heap, bytes(114_689));
    assert_eq!(heap.usable_size(other), Some(131_072));
    free(heap, other, bytes(114_689));
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
fn a_heap_that_does_not_round_caches_runs_that_fit_exactly() {
    let heap = heap::<Exact>();
    warm(heap, LARGE);
    assert_eq!(heap.stats().parked_bytes, 0);
    let block = alloc(heap, LARGE);
    assert_eq!(heap.usable_size(block), Some(LARGE.size().next_multiple_of(PAGE_SIZE)));
    free(heap, block, LARGE);
    let exact = bytes(114_688 - PAGE_SIZE + 1);
    warm(heap, exact);
    assert_eq!(heap.stats().parked_bytes, 114_688);
    heap.reclaim();
    assert_eq!((heap.stats().live_bytes(), heap.stats().parked_bytes), (0, 0));
}

/// What is cached at most while a few blocks of each size come and go.
fn largest_share(heap: &Heap<Rounding>, sizes: &[Layout]) -> usize {
    let mut most = 0;
    for _ in 0..unless_miri(8, 2) {
        let blocks: Vec<_> = sizes.iter().map(|&layout| (alloc(heap, layout), layout)).collect();
        blocks.into_iter().for_each(|(block, layout)| free(heap, block, layout));
        most = most.max(heap.stats().parked_bytes);
    }
    heap.check().expect("sound");
    most
}

#[test]
fn a_slot_caches_no_more_than_its_share() {
    let heap = heap::<Rounding>();
    let classes = Class::runs().step_by(unless_miri(1, 3));
    let sizes: Vec<_> = classes.map(|class| bytes(class.size())).collect();
    let before = largest_share(heap, &sizes);
    // Of runs that are touched here and there, more.
    heap.provider().say_resident(8);
    heap.reclaim();
    let after = largest_share(heap, &sizes);
    assert!(before <= Rounding::LIMITS.runs_max && after > 2 * before, "{before} {after}");
    // And none where memory is short.
    heap.reclaim();
    heap.cache.registry.note_shortage(1);
    warm(heap, LARGE);
    assert_eq!(heap.stats().parked_bytes, 0);
}

#[test]
fn a_small_heap_caches_one_run_of_a_bounded_size() {
    for (size, cached) in [(2 << 20, true), ((2 << 20) + 1, false)] {
        let heap = heap::<Rounding>();
        warm(heap, bytes(size));
        assert_eq!(heap.stats().parked_bytes > 0, cached, "{size}");
    }
}

#[test]
fn runs_go_back_at_the_next_miss_after_a_tick() {
    let heap = heap::<Rounding>();
    let other = bytes(200_000);
    warm(heap, LARGE);
    let block = alloc(heap, other);
    assert!(heap.stats().parked_bytes > 0, "no tick is due");
    advance(60);
    // The tick comes with this miss, what it asks for with the next.
    free(heap, block, other);
    assert!(heap.stats().parked_bytes > 0);
    let block = alloc(heap, other);
    assert_eq!(heap.stats().parked_bytes, 0);
    free(heap, block, other);
}

#[test]
fn runs_of_a_cpu_that_is_idle_are_drained() {
    let heap = heap::<Rounding>();
    warm(heap, LARGE);
    migrate(1);
    let other = bytes(5 << 20);
    for _ in 0..4 {
        advance(600);
        free(heap, alloc(heap, other), other);
    }
    assert_eq!(heap.stats().parked_bytes, 0);
}

#[test]
fn a_run_that_is_resized_serves_its_new_class() {
    let heap = heap::<Rounding>();
    let (small, large) = (bytes(40_000), bytes(150_000));
    let block = alloc(heap, small);
    // SAFETY: live, of that layout.
    let grown = NonNull::new(unsafe { heap.realloc(block, small, large.size()) }).expect("memory");
    assert_eq!(heap.usable_size(grown), Some(163_840));
    heap.check().expect("sound");
    free(heap, grown, large);
    let block = alloc(heap, large);
    // SAFETY: live, of that layout.
    let shrunk = NonNull::new(unsafe { heap.realloc(block, large, small.size()) }).expect("memory");
    assert_eq!((shrunk, heap.usable_size(shrunk)), (block, Some(40_960)));
    heap.check().expect("sound");
    // SAFETY: live.
    unsafe { heap.free(shrunk) };
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
#[should_panic(expected = "double free")]
fn a_run_in_the_cache_twice_is_found_when_it_goes_back() {
    let heap = heap::<Rounding>();
    warm(heap, LARGE);
    let block = alloc(heap, LARGE);
    free(heap, block, LARGE);
    free(heap, block, LARGE);
    heap.reclaim();
}

#[test]
#[should_panic(expected = "wrong layout")]
fn a_run_freed_with_another_class_is_found() {
    let heap = heap::<Rounding>();
    free(heap, alloc(heap, LARGE), bytes(200_000));
}

#[test]
fn a_cached_run_of_another_class_violates_k1() {
    let heap = heap::<Rounding>();
    warm(heap, LARGE);
    let block = alloc(heap, LARGE);
    free(heap, block, LARGE);
    let at = heap.lower.regions.locate(block.as_ptr()).expect("ours");
    let pages = at.run().expect("a run");
    let class = at.class();
    for other in [Class::LARGE, Class::of(50_000, 1), Class::of(300_000, 1)] {
        at.set_class(pages, other);
        assert_eq!(heap.check().expect_err("violated").invariant, "K1");
    }
    at.set_class(pages, class);
    heap.check().expect("sound");
}
