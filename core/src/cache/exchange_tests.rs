//! Sheaves that are swapped out in another state than their tops were seen in.
//!
//! A caller reads a top, is preempted, and reads the mark next to it when the block is
//! another class's; before it swaps, the block is its own class's again, with the same
//! top. Here the mark is put next to the top of a sheaf that is partly filled, and the
//! word is as it was again when the front end is asked to swap.

use core::cell::Cell;
use core::ptr::{NonNull, without_provenance_mut};
use std::alloc::Layout;
use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::cache::frontend::Current;
use crate::cache::guarded::Guarded;
use crate::cache::paths::claim;
use crate::cache::sheaf::{Word, capacity, tag};
use crate::cache::slot::Slot;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestCpu, TestEnv, for_ever, migrate};
use crate::heap::Heap;
use crate::provider::Capabilities;

const WORDS: Layout = Layout::new::<[u64; 6]>();

std::thread_local! {
    /// A word that was seen as a mark, and what is in it when the caller swaps.
    static SEEN: Cell<Option<(NonNull<Word>, *mut u8)>> = const { Cell::new(None) };

    /// Whether the caller of the next swap is moved to another CPU, so that it fails.
    static MOVED: Cell<bool> = const { Cell::new(false) };
}

/// Where sheaves change between a look and a swap.
struct Racing(Guarded<TestCpu, TestEnv, 2>);

// SAFETY: as the front end inside. What is put back before a swap is what was in a
// word of a sheaf in its place.
unsafe impl FrontEnd<TestEnv> for Racing {
    fn pop(&self, class: Class) -> *mut u8 {
        self.0.pop(class)
    }

    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: as the caller's.
        unsafe { self.0.push(class, object) }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        if let Some((word, was)) = SEEN.take() {
            // SAFETY: a word of a sheaf, which is never anything else (C2).
            unsafe { word.as_ref() }.store(was, Relaxed);
        }
        // SAFETY: as the caller's.
        !MOVED.take() && unsafe { self.0.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, TestEnv> {
        self.0.current()
    }

    fn attach(&self, slot: &'static Slot<TestEnv>) -> bool {
        self.0.attach(slot)
    }

    fn stop(&self, slot: &Slot<TestEnv>) -> bool {
        self.0.stop(slot)
    }

    fn restart(&self, slot: &Slot<TestEnv>) {
        self.0.restart(slot);
    }
}

struct Races;

impl Config for Races {
    type Pages = Arena;
    type Front = Racing;
    type Env = TestEnv;
}

/// A heap whose CPU has a sheaf of the class that is partly filled; and what lives.
struct Scene {
    heap: &'static Heap<Races>,
    class: Class,
    live: Vec<NonNull<u8>>,
}

impl Scene {
    fn new() -> Self {
        migrate(0);
        let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
        let heap = for_ever(Heap::new(arena, Racing(Guarded::new())));
        let class = Class::of(WORDS.size(), WORDS.align());
        let mut scene = Self { heap, class, live: Vec::new() };
        (0..3).for_each(|_| scene.alloc());
        let top = scene.slot().tops().get(class);
        assert!(!top.is_empty() && !top.is_full());
        scene
    }

    fn slot(&self) -> &'static Slot<TestEnv> {
        match self.heap.lower.front.current() {
            Current::Slot(slot) => slot,
            _ => panic!("a cache"),
        }
    }

    fn sheaf(&self) -> Sheaf {
        let (lower, order) = (&self.heap.lower, self.slot().stash.lock().order(self.class));
        let pool = &self.heap.cache.pool;
        pool.sheaf(&lower.regions, &lower.provider, self.class, order).expect("memory")
    }

    /// Puts a full sheaf into the stash.
    fn with_full(self) -> Self {
        let mut sheaf = self.sheaf();
        let all = sheaf.fill(self.class, |slots| claim(&self.heap.lower, self.class, slots));
        assert_eq!(all, capacity(self.class, sheaf.order()), "in one slab");
        self.slot().stash.lock().keep_full(self.class, sheaf);
        self
    }

    /// Puts an empty sheaf into the stash, of the class's present order.
    fn with_empty(self) -> Self {
        let sheaf = self.sheaf();
        self.slot().stash.lock().keep_empty(sheaf);
        self
    }

    /// Whoever looks next sees the sheaf in use at an end, with the mark of `order`.
    fn seen_at(self, end: End, order: u8) -> Self {
        let top = self.slot().tops().get(self.class);
        let (word, was) = if end == End::Empty { top.below() } else { top.at() };
        // SAFETY: a word of the sheaf in use, and nobody else is here.
        unsafe { word.as_ref() }.store(without_provenance_mut(tag(order)), Relaxed);
        SEEN.set(Some((word, was)));
        self
    }

    fn alloc(&mut self) {
        self.live.push(NonNull::new(self.heap.alloc(WORDS)).expect("memory"));
    }

    fn alloc_nolock(&mut self) {
        self.live.push(NonNull::new(self.heap.try_alloc_nolock(WORDS)).expect("a sheaf"));
    }

    fn free(&mut self) {
        let block = self.live.pop().expect("one");
        // SAFETY: live, of that layout.
        unsafe { self.heap.dealloc(block, WORDS) };
    }

    fn free_nolock(&mut self) {
        let block = self.live.pop().expect("one");
        // SAFETY: live, of that layout.
        unsafe { self.heap.dealloc_nolock(block, WORDS) };
    }

    fn has_put_aside(&self) -> bool {
        !self.heap.cache.deferred.is_empty()
    }

    /// Nothing is lost, and nothing is there twice.
    fn ends_whole(mut self) {
        assert!(SEEN.take().is_none(), "nobody has swapped");
        self.heap.check().expect("a whole heap");
        (0..100).for_each(|_| self.alloc());
        assert_eq!(self.live.iter().collect::<BTreeSet<_>>().len(), self.live.len(), "twice");
        self.heap.check().expect("a whole heap");
        while !self.live.is_empty() {
            self.free();
        }
        self.heap.reclaim();
        self.heap.check().expect("a whole heap");
        assert_eq!(self.heap.stats().live_bytes(), 0, "lost");
    }
}

#[test]
fn a_refill_from_the_stash_takes_out_what_is_not_empty() {
    let mut scene = Scene::new().with_full().seen_at(End::Empty, 0);
    scene.alloc();
    assert!(scene.has_put_aside());
    scene.ends_whole();
}

#[test]
fn a_refill_that_may_not_wait_takes_out_what_is_not_empty() {
    let mut scene = Scene::new().with_full().seen_at(End::Empty, 0);
    scene.alloc_nolock();
    assert!(scene.has_put_aside());
    scene.ends_whole();
}

/// Where the stash has nothing, the sheaf is taken to be filled if it is of the order
/// that comes next, and replaced if not.
#[test]
fn a_deeper_refill_takes_out_what_is_not_empty() {
    for further in [0, 1] {
        let scene = Scene::new();
        let next = scene.slot().stash.lock().order(scene.class);
        let mut scene = scene.seen_at(End::Empty, next + further);
        scene.alloc();
        scene.ends_whole();
    }
}

#[test]
fn an_overflow_to_the_stash_takes_out_what_is_not_full() {
    let mut scene = Scene::new().with_empty().seen_at(End::Full, 0);
    scene.free();
    assert!(scene.has_put_aside());
    scene.ends_whole();
}

#[test]
fn an_overflow_that_may_not_wait_takes_out_what_is_not_full() {
    let mut scene = Scene::new().with_empty().seen_at(End::Full, 0);
    scene.free_nolock();
    assert!(scene.has_put_aside());
    scene.ends_whole();
}

#[test]
fn a_deeper_overflow_takes_out_what_is_not_full() {
    let mut scene = Scene::new().seen_at(End::Full, 0);
    scene.free();
    scene.ends_whole();
}

/// The first free of a CPU, whose block comes to lie below others.
#[test]
fn a_first_overflow_of_who_is_moved_keeps_nothing() {
    let mut scene = Scene::new();
    migrate(1);
    MOVED.set(true);
    scene.free();
    assert!(!MOVED.get(), "nobody has swapped");
    assert!(scene.slot().tops().get(scene.class).len() > 1, "the second time");
    scene.ends_whole();
    migrate(0);
}
