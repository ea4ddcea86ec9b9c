//! Caches that are drained, at once or when their CPU comes by.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use crate::base::config::Config;
use crate::base::limits::Limits;
use crate::cache::frontend::{Current, FrontEnd};
use crate::cache::guarded::{Cpu, Guarded};
use crate::check::arena::Arena;
use crate::check::surroundings::{
    Entered, TestConfig, TestCpu, TestEnv, advance, for_ever, migrate, unless_miri,
};
use crate::heap::Heap;
use crate::provider::Capabilities;

/// CPUs of which only the caller's own can be stopped.
struct Unstoppable;

// SAFETY: as `TestCpu`, but for `quiesce`.
unsafe impl Cpu for Unstoppable {
    type Guard = Entered;

    fn try_enter() -> Option<(usize, Entered)> {
        TestCpu::try_enter()
    }
}

struct OwnOnly;

impl Config for OwnOnly {
    type Pages = Arena;
    type Front = Guarded<Unstoppable, TestEnv, 2>;
    type Env = TestEnv;
}

/// A heap that lives for ever, as its slots do.
fn heap<C: Config<Pages = Arena>>(front: C::Front) -> &'static Heap<C> {
    let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
    for_ever(Heap::new(arena, front))
}

/// In Miri of the class with the smallest sheaves: so fewer make a cache miss.
const WORDS: Layout = Layout::new::<[u64; unless_miri(8, 4096)]>();

/// Allocates and frees enough to fill the caches of the caller's CPU.
fn work<C: Config>(heap: &Heap<C>) {
    const BLOCKS: usize = unless_miri(500, 4);
    let blocks: Vec<_> = (0..BLOCKS).filter_map(|_| NonNull::new(heap.alloc(WORDS))).collect();
    assert_eq!(blocks.len(), BLOCKS);
    for block in blocks {
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, WORDS) };
    }
}

/// Does so, and sees that they are.
fn warm<C: Config>(heap: &Heap<C>) {
    work(heap);
    assert!(heap.stats().cached_bytes > 0);
}

#[test]
fn all_cpus_are_drained_where_they_can_be_stopped() {
    let heap = heap::<TestConfig>(Guarded::new());
    for cpu in [0, 1] {
        migrate(cpu);
        warm(heap);
    }
    assert_eq!(heap.stats().slots, 2);
    heap.reclaim();
    heap.check().expect("a whole heap");
    let stats = heap.stats();
    assert_eq!((stats.cached_bytes, stats.slab_bytes, stats.live_bytes()), (0, 0, 0));
}

#[test]
fn a_child_opens_the_caches_that_were_being_drained() {
    let heap = heap::<TestConfig>(Guarded::new());
    migrate(0);
    warm(heap);
    let current = || match heap.lower.front.current() {
        Current::Slot(slot) => Some(slot),
        _ => None,
    };
    let slot = current().expect("a cache");
    // A thread that the child does not have.
    assert!(heap.lower.front.stop(slot) && current().is_none());
    heap.before_fork();
    // SAFETY: closed by this thread, the only one; the front end is one of CPUs.
    unsafe {
        heap.after_fork();
        heap.restart_stopped();
    }
    let again = current().expect("the same cache");
    assert!(core::ptr::eq(again, slot));
    let cached = heap.stats().cached_bytes;
    let block = NonNull::new(heap.alloc(WORDS)).expect("memory");
    assert_eq!(heap.stats().cached_bytes, cached - WORDS.size(), "a hit");
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, WORDS) };
    heap.check().expect("a whole heap");
}

#[test]
fn a_cpu_that_cannot_be_stopped_follows_at_its_next_miss() {
    let heap = heap::<OwnOnly>(Guarded::new());
    for cpu in [0, 1] {
        migrate(cpu);
        warm(heap);
    }
    let before = heap.stats().cached_bytes;
    heap.reclaim();
    heap.check().expect("a whole heap");
    let stats = heap.stats();
    assert!(0 < stats.cached_bytes && stats.cached_bytes < before, "its own, not the other's");
    // A hit is no occasion, a miss is: here of another class.
    migrate(0);
    let block = NonNull::new(heap.alloc(WORDS)).expect("memory");
    assert_eq!(heap.stats().cached_bytes, stats.cached_bytes - WORDS.size());
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, WORDS) };
    let other = Layout::new::<[u64; 100]>();
    let block = NonNull::new(heap.alloc(other)).expect("memory");
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, other) };
    heap.reclaim();
    heap.check().expect("a whole heap");
    let stats = heap.stats();
    assert_eq!((stats.cached_bytes, stats.slab_bytes, stats.live_bytes()), (0, 0, 0));
}

struct DrainsIdle;

impl Config for DrainsIdle {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LIMITS: Limits = Limits { drain_idle_ms: 1000, ..Limits::BALANCED };
}

struct DrainsIdleOwnOnly;

impl Config for DrainsIdleOwnOnly {
    type Pages = Arena;
    type Front = Guarded<Unstoppable, TestEnv, 2>;
    type Env = TestEnv;

    const LIMITS: Limits = Limits { drain_idle_ms: 1000, ..Limits::BALANCED };
}

/// Bytes in the cache of a CPU.
fn cached<C: Config>(heap: &Heap<C>, cpu: usize) -> usize {
    heap.cpu_stats(cpu).map_or(0, |stats| stats.cached_bytes)
}

const LARGE: Layout = Layout::new::<[u64; 5 << 17]>();

/// Milliseconds between two pieces of work: each sees a tick.
const PAUSE: u32 = unless_miri(100, 300) as u32;

/// Works on CPU 0 for a while, so that ticks come; CPU 1 has cached something.
fn work_elsewhere<C: Config<Pages = Arena>>(heap: &Heap<C>, ms: u32) {
    migrate(0);
    for _ in 0..ms / PAUSE {
        advance(PAUSE);
        work(heap);
        // Too large for any cache.
        let large = NonNull::new(heap.alloc(LARGE)).expect("memory");
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(large, LARGE) };
    }
}

#[test]
fn a_cpu_without_a_miss_is_drained_after_a_while() {
    let heap = heap::<DrainsIdle>(Guarded::new());
    for _ in 0..2 {
        migrate(1);
        warm(heap);
        work_elsewhere(heap, 900);
        assert!(cached(heap, 1) > 0, "not idle for long enough");
        work_elsewhere(heap, unless_miri(400, 600) as u32);
        assert_eq!(cached(heap, 1), 0);
        assert!(cached(heap, 0) > 0, "the busy one keeps its cache");
    }
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
fn idle_cpus_that_cannot_be_stopped_keep_their_caches() {
    let heap = heap::<DrainsIdleOwnOnly>(Guarded::new());
    migrate(1);
    warm(heap);
    let before = cached(heap, 1);
    work_elsewhere(heap, unless_miri(3000, 1500) as u32);
    assert_eq!(cached(heap, 1), before);
}

#[test]
fn without_a_delay_nobody_is_drained_for_being_idle() {
    let heap = heap::<TestConfig>(Guarded::new());
    migrate(1);
    warm(heap);
    let before = cached(heap, 1);
    work_elsewhere(heap, unless_miri(10_000, 2_000) as u32);
    assert_eq!(cached(heap, 1), before);
}

/// A CPU keeps what it needs, and lets go of what it needed once.
#[test]
fn classes_that_a_cpu_needs_no_more_cool_down() {
    const OTHER: Layout = Layout::new::<[u64; unless_miri(20, 256)]>();
    let heap = heap::<TestConfig>(Guarded::new());
    migrate(0);
    warm(heap);
    let before = heap.stats().cached_bytes;
    // Some ticks in which the other class alone misses.
    let mut live = Vec::new();
    const MS: u32 = unless_miri(50, 100) as u32;
    for round in 0..2000 / MS {
        advance(MS);
        for _ in 0..unless_miri(200, 20) {
            live.push(NonNull::new(heap.alloc(OTHER)).expect("memory"));
        }
        for block in live.drain(..) {
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, OTHER) };
        }
        if round == 250 / MS {
            // Not before it is time to look.
            assert!(heap.stats().cached_bytes > before);
        }
    }
    let mut objects = [0, 0];
    heap.check().expect("a heap whose caches are in order");
    for slot in heap.cache.registry.slots() {
        for (objects, layout) in objects.iter_mut().zip([WORDS, OTHER]) {
            let class = crate::base::class::Class::of(layout.size(), layout.align());
            *objects += slot.tops().get(class).len();
            slot.stash.lock().each_full(class, |sheaf| *objects += sheaf.len());
        }
    }
    assert_eq!(objects[0], 0, "of the class that was needed once");
    assert!(objects[1] > unless_miri(50, 6), "{} of the class that is in use", objects[1]);
    warm(heap);
}
