//! What calls that may not wait leave in a stash.

use std::alloc::Layout;
use std::vec::Vec;

use super::*;
use crate::cache::guarded::Guarded;
use crate::cache::paths::claim;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, TestEnv, for_ever, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::{Capabilities, Node};

/// In Miri of the class with the smallest sheaves.
const WORDS: Layout = Layout::new::<[u64; unless_miri(6, 4096)]>();

/// Empty sheaves that a stash is content with, and with the pool taken.
const ENOUGH: usize = 64;
const MOST: usize = 128;

/// Full sheaves that another CPU has freed.
const FREED: usize = unless_miri(300, 140);

struct Scene {
    heap: &'static Heap<TestConfig>,
    class: Class,
    live: Vec<NonNull<u8>>,
}

impl Scene {
    /// A CPU with a cache, and a depot that is full.
    fn new() -> Self {
        migrate(0);
        let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
        let heap = for_ever(Heap::new(arena, Guarded::new()));
        let class = Class::of(WORDS.size(), WORDS.align());
        let mut scene = Self { heap, class, live: Vec::new() };
        assert!(scene.alloc(), "memory");
        for _ in 0..FREED {
            let full = scene.full();
            let depot = heap.cache.depots.get(Node(0)).expect("the first");
            assert!(depot.put(class, full, usize::MAX).is_none(), "room for it");
        }
        scene
    }

    fn slot(&self) -> &'static Slot<TestEnv> {
        match self.heap.lower.front.current() {
            Current::Slot(slot) => slot,
            _ => panic!("a cache"),
        }
    }

    fn full(&self) -> crate::cache::sheaf::Sheaf {
        let (lower, pool) = (&self.heap.lower, &self.heap.cache.pool);
        let sheaf = pool.sheaf(&lower.regions, &lower.provider, self.class, 0);
        let mut sheaf = sheaf.expect("memory");
        sheaf.fill(self.class, |slots| {
            let mut left = slots.len();
            while left > 0 {
                left -= claim(lower, self.class, &slots[..left]);
            }
            slots.len()
        });
        sheaf
    }

    fn alloc(&mut self) -> bool {
        let block = NonNull::new(self.heap.alloc(WORDS));
        self.live.extend(block);
        block.is_some()
    }

    fn alloc_nolock(&mut self) -> bool {
        let block = NonNull::new(self.heap.try_alloc_nolock(WORDS));
        self.live.extend(block);
        block.is_some()
    }

    /// Allocates all that can be had, without waiting: the depot's sheaves one by one.
    fn use_all_up(&mut self) {
        let before = self.live.len();
        while self.alloc_nolock() {}
        assert!(self.live.len() - before >= FREED, "the depot's");
    }

    /// Takes the empty sheaves out of the stash; how many there were.
    fn empties(&self) -> usize {
        let mut count = 0;
        while let Some(sheaf) = { self.slot().stash.lock().take_any_empty() } {
            self.heap.cache.pool.give(sheaf);
            count += 1;
        }
        count
    }

    fn ends_whole(self) {
        self.heap.check().expect("a whole heap");
        for &block in &self.live {
            // SAFETY: live, of that layout.
            unsafe { self.heap.dealloc(block, WORDS) };
        }
        self.heap.reclaim();
        self.heap.check().expect("a whole heap");
        assert_eq!(self.heap.stats().live_bytes(), 0);
    }
}

/// A CPU that allocates what another frees gets its sheaves, and gives them back.
#[test]
fn empty_sheaves_go_back_to_the_pool() {
    let mut scene = Scene::new();
    scene.use_all_up();
    let empties = scene.empties();
    assert!((ENOUGH..=ENOUGH + 1).contains(&empties), "{empties} are hoarded");
    scene.ends_whole();
}

#[test]
fn with_the_pool_taken_there_is_an_end_to_what_is_hoarded() {
    let mut scene = Scene::new();
    scene.heap.cache.pool.hold();
    scene.use_all_up();
    // SAFETY: closed here.
    unsafe { scene.heap.cache.pool.unhold() };
    let depot = scene.heap.cache.depots.get(Node(0)).expect("the first");
    let left = depot.bytes(scene.class) > 0;
    let empties = scene.empties();
    assert!(left && empties == MOST, "{empties} are hoarded");
    scene.ends_whole();
}

/// A call that may wait gives all back that was too many, at once.
#[test]
fn a_hoard_shrinks_at_the_next_miss_that_may_wait() {
    let mut scene = Scene::new();
    scene.heap.cache.pool.hold();
    scene.use_all_up();
    // SAFETY: closed here.
    unsafe { scene.heap.cache.pool.unhold() };
    let full = scene.full();
    scene.slot().stash.lock().keep_full(scene.class, full);
    assert!(scene.alloc(), "from the stash");
    assert_eq!(scene.empties(), ENOUGH);
    scene.ends_whole();
}
