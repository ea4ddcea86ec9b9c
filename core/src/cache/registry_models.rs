//! The list of all slots: who sees a slot sees it whole, and no slot is had by
//! two.

use super::*;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::{ALL, ModelConfig, heap};
use crate::heap::Heap;
use crate::provider::Capabilities;

type ModelHeap = Heap<ModelConfig<ALL>>;

fn obtain(heap: &'static ModelHeap) -> &'static Slot<crate::check::model_surroundings::ModelEnv> {
    let cache = &heap.cache;
    let slot = cache.registry.obtain(&cache.pool, &heap.lower).expect("memory");
    assert!(slot.in_use.load(Ordering::Relaxed));
    slot
}

#[test]
fn a_slot_is_seen_whole_and_had_by_one() {
    Model::new(|| {
        let heap = heap::<ALL>(Capabilities::empty());
        let heap: &'static ModelHeap = heap.lend();
        let spare = obtain(heap);
        heap.cache.registry.put_back(spare);
        let other = spawn(move || {
            let slot = obtain(heap);
            slot.overflows.count();
            core::ptr::from_ref(slot).addr()
        });
        let mine = obtain(heap);
        mine.overflows.count();
        mine.overflows.count();
        let seen = heap.cache.registry.slots();
        assert!(
            (1..=2).contains(&seen.filter(|slot| slot.epoch.load(Ordering::Relaxed) == 0).count())
        );
        let others = other.join();
        assert_ne!(core::ptr::from_ref(mine).addr(), others, "a slot for each");
        assert_eq!(mine.overflows.get(), 2);
        assert_eq!((heap.cache.registry.slots().count(), heap.cache.registry.active()), (2, 2));
    })
    .atomics(2048)
    .preemptions(2)
    .verify(&["registry.rs: self.all", LOCK]);
}
