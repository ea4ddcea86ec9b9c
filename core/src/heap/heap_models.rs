//! Whole heaps: drains that are followed later, interrupts at every step, and
//! blocks that may not wait.

use core::alloc::Layout;
use std::vec::Vec;

use super::*;
use crate::base::config::Config;
use crate::base::sync::modelled::{interrupt_after, interrupt_now};
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::model::{Model, migrate, spawn};
use crate::check::model_surroundings::{
    ALL, CANNOT_QUIESCE, ModelCpu, NOT_ALONE, OneThread, Owned, PAGE, heap, use_object,
};
use crate::provider::Capabilities;

const WORDS: Layout = Layout::new::<[u64; 8]>();
const OTHER: Layout = Layout::new::<[u64; 100]>();

fn alloc<C: Config>(heap: &Heap<C>, layout: Layout) -> NonNull<u8> {
    let block = NonNull::new(heap.alloc(layout)).expect("memory");
    use_object(block.as_ptr());
    block
}

fn dealloc<C: Config>(heap: &Heap<C>, block: NonNull<u8>, layout: Layout) {
    use_object(block.as_ptr());
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, layout) };
}

#[test]
fn a_cpu_that_could_not_be_stopped_follows_a_drain() {
    Model::new(|| {
        let heap = heap::<CANNOT_QUIESCE>(Capabilities::empty());
        let heap = heap.lend();
        let block = alloc(heap, WORDS);
        dealloc(heap, block, WORDS);
        let cached = heap.stats().cached_bytes;
        assert!(cached > 0);
        let other = spawn(move || {
            migrate(1);
            heap.cache.drain_all(&heap.lower);
        });
        // A miss, before or while or after the drain is asked for.
        let block = alloc(heap, OTHER);
        other.join();
        dealloc(heap, block, OTHER);
        // Another one, which knows of it.
        let block = alloc(heap, Layout::new::<[u64; 40]>());
        let slot = heap.cache.registry.slots().next().expect("one");
        let top = slot.tops().get(Class::of(WORDS.size(), WORDS.align()));
        assert!(top.is_sentinel(), "drained at its next miss");
        dealloc(heap, block, Layout::new::<[u64; 40]>());
        heap.check().expect("a whole heap");
    })
    .atomics(4096)
    .preemptions(1)
    .verify(&["drain.rs: epoch.fetch_add & does nothing"]);
}

/// An interrupt after so many accesses allocates and frees, without waiting.
fn interrupted<C: Config>(accesses: usize, heap: Owned<Heap<C>>) {
    let heap: &'static Heap<C> = heap.lend();
    let blocks: Vec<_> = (0..3).map(|_| alloc(heap, WORDS)).collect();
    dealloc(heap, blocks[2], WORDS);
    let foreign = blocks[1].as_ptr().expose_provenance();
    interrupt_after(accesses, move || {
        let block = NonNull::new(core::ptr::with_exposed_provenance_mut(foreign));
        let block = block.expect("not null");
        use_object(block.as_ptr());
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc_nolock(block, WORDS) };
        if let Some(block) = NonNull::new(heap.try_alloc_nolock(WORDS)) {
            use_object(block.as_ptr());
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc_nolock(block, WORDS) };
        }
    });
    let block = alloc(heap, WORDS);
    assert_ne!(block, blocks[0], "a live block");
    dealloc(heap, block, WORDS);
    // Misses, down to the regions.
    let block = alloc(heap, OTHER);
    dealloc(heap, block, OTHER);
    dealloc(heap, blocks[0], WORDS);
    interrupt_now();
    heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.live_bytes(), stats.cached_bytes), (0, 0), "nothing is lost");
    heap.check().expect("a whole heap");
}

#[test]
fn an_interrupt_at_any_step_loses_nothing() {
    let mut steps = 1;
    let all = || heap::<ALL>(Capabilities::empty());
    while Model::new(move || interrupted(steps, all())).atomics(4096).comes() {
        steps += 1;
    }
    assert!(steps > 100, "only {steps} steps");
}

struct OneThreadConfig;

impl Config for OneThreadConfig {
    type Pages = Arena;
    type Front = Guarded<ModelCpu<ALL>, OneThread, 2>;
    type Env = OneThread;
}

#[test]
fn nor_does_a_handler_of_the_only_thread() {
    let one = || {
        let arena = Arena::new(PAGE, Capabilities::empty(), 16 << 20);
        Owned::new(Heap::<OneThreadConfig>::new(arena, Guarded::new()))
    };
    let mut steps = 1;
    while Model::new(move || interrupted(steps, one())).atomics(4096).comes() {
        steps += 1;
    }
    assert!(steps > 100, "only {steps} steps");
}

#[test]
fn an_interrupt_that_enters_on_top_of_an_entry_breaks_the_heap() {
    let mut steps = 1..200;
    let broken = |steps| {
        let heap = || heap::<NOT_ALONE>(Capabilities::empty());
        Model::new(move || interrupted(steps, heap())).atomics(4096)
    };
    assert!(steps.any(|steps| broken(steps).is_broken()), "it must fail somewhere");
}
