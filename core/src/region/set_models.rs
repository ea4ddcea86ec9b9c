//! Runs taken, given back and purged by two threads: a run has one owner, and
//! what is called zero is.

use super::*;
use crate::base::bytes::is_all;
use crate::base::sync::plain;
use crate::check::arena::Arena;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::{ALL, ModelConfig, Owned};
use crate::region::purge::Urgency;

struct Heap {
    arena: Arena,
    regions: Regions<ModelConfig<ALL>>,
}

fn heap() -> Owned<Heap> {
    let can = Capabilities::PURGE | Capabilities::PURGE_ZEROES | Capabilities::FRESH_IS_ZERO;
    Owned::new(Heap { arena: Arena::new(4096, can, 1 << 20), regions: Regions::new() })
}

impl Heap {
    /// Takes a run and writes to it.
    fn take(&self) -> NonNull<u8> {
        let run = self
            .regions
            .take(&self.arena, Near::Only(Node(0)), PageCount(1), 1, Class::LARGE)
            .expect("memory");
        plain::wrote(run.start.as_ptr().cast::<[u8; PAGE_SIZE]>());
        // SAFETY: the run is ours.
        let bytes = unsafe { core::slice::from_raw_parts_mut(run.start.as_ptr(), PAGE_SIZE) };
        assert!(!run.zero || is_all(bytes, 0), "zero is never said of dirty memory");
        bytes.fill(1);
        run.start
    }

    fn give(&self, run: NonNull<u8>) {
        // SAFETY: the run is ours.
        let bytes = unsafe { core::slice::from_raw_parts(run.as_ptr(), PAGE_SIZE) };
        assert!(is_all(bytes, 1), "P1: a run that is ours is not purged");
        self.regions.give(run, Contents::Dirty, 0).expect("a run");
    }
}

#[test]
fn a_run_has_one_owner_and_is_not_purged() {
    Model::new(|| {
        let heap = heap();
        let heap = heap.lend();
        let first = heap.take();
        heap.give(heap.take());
        let other = spawn(move || {
            let run = heap.take();
            heap.give(run);
        });
        heap.give(first);
        heap.regions.give_back(&heap.arena, 0, Urgency::All);
        heap.give(heap.take());
        other.join();
        let stats = heap.regions.stats();
        assert_eq!((stats.regions, stats.used), (1, 0));
        heap.regions.walk(|_| Ok(())).expect("whole regions");
    })
    .atomics(512)
    .preemptions(2)
    .verify(&[LOCK]);
}

#[test]
fn one_of_two_has_the_tick() {
    Model::new(|| {
        let regions = Owned::new(Regions::<ModelConfig<ALL>>::new());
        let regions = regions.lend();
        let other = spawn(move || regions.tick_is_due(50, 50));
        let mine = regions.tick_is_due(51, 50);
        let others = other.join();
        assert!(mine ^ others, "one tick in fifty milliseconds");
        assert!(!regions.tick_is_due(99, 50) && regions.tick_is_due(101, 50));
    })
    .verify(&["set.rs: last_tick"]);
}
