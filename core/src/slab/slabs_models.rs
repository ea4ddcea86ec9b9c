//! Objects claimed and released by two threads: each is claimed once, and none
//! of a slab that is on its way back.

use core::ptr::NonNull;
use std::vec::Vec;

use super::*;
use crate::check::arena::Arena;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::{ALL, ModelConfig, Owned, PAGE, use_object};
use crate::provider::Capabilities;

struct Heap {
    arena: Arena,
    regions: Regions<ModelConfig<ALL>>,
    slabs: Slabs<ModelConfig<ALL>>,
}

/// A class of few objects in a slab.
fn class() -> Class {
    Class::all().min_by_key(|class| class.info().objects).expect("a class")
}

impl Heap {
    fn new(can: Capabilities) -> Owned<Self> {
        let arena = Arena::new(PAGE, can, 16 << 20);
        Owned::new(Self { arena, regions: Regions::new(), slabs: Slabs::new() })
    }

    fn claim(&self, count: usize) -> Vec<NonNull<u8>> {
        let slots: Vec<_> = (0..count).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect();
        let claimed = self.slabs.claim(&self.regions, &self.arena, Node(0), class(), &slots);
        let got = slots[count - claimed..].iter().map(|slot| slot.load(Relaxed));
        got.map(|object| {
            use_object(object);
            NonNull::new(object).expect("an object")
        })
        .collect()
    }

    fn release(&self, objects: &[NonNull<u8>]) {
        objects.iter().for_each(|object| use_object(object.as_ptr()));
        let objects: Vec<_> =
            objects.iter().map(|object| AtomicPtr::new(object.as_ptr())).collect();
        self.slabs.release(&self.regions, class(), &objects);
    }
}

#[test]
fn an_object_is_claimed_once_and_from_a_slab_that_stays() {
    Model::new(|| {
        let heap = Heap::new(Capabilities::empty());
        let heap = heap.lend();
        let per_slab = class().info().objects as usize;
        // Two slabs: a full one, and one with a single object out.
        let full = heap.claim(per_slab);
        let last = heap.claim(1);
        assert_eq!((full.len(), last.len()), (per_slab, 1));
        let last = last[0].as_ptr().expose_provenance();
        let other = spawn(move || {
            // Its slab runs empty and goes back, if another has an object free.
            let last = core::ptr::with_exposed_provenance_mut(last);
            heap.release(&[NonNull::new(last).expect("not null")]);
        });
        heap.release(&full[1..2]);
        let claimed = heap.claim(1);
        assert!(claimed.len() == 1 && claimed[0] != full[0], "claimed once");
        other.join();
        heap.slabs.check().expect("whole slabs");
        heap.regions.walk(|_| Ok(())).expect("whole regions");
        heap.release(&claimed);
        heap.release(&full[..1]);
        let rest: Vec<_> = full[2..].to_vec();
        heap.release(&rest);
        heap.slabs.return_empty(&heap.regions);
        assert_eq!(heap.regions.stats().used, 0);
    })
    .atomics(1024)
    .preemptions(2)
    .verify(&[LOCK]);
}

#[test]
fn an_object_is_not_purged_and_not_lost_to_a_purge() {
    Model::new(|| {
        let heap = Heap::new(Capabilities::PURGE | Capabilities::PURGE_ZEROES);
        let heap = heap.lend();
        // An empty slab, which is kept as the last of its class.
        heap.release(&heap.claim(1));
        let other = spawn(move || {
            let own = heap.claim(1);
            // SAFETY: the object is ours.
            unsafe { own[0].write(7) };
            let more = heap.claim(1);
            // SAFETY: as above.
            assert_eq!(unsafe { own[0].read() }, 7, "P2: an object that is ours is not purged");
            heap.release(&[own[0], more[0]]);
        });
        heap.slabs.purge_all(&heap.regions, &heap.arena);
        other.join();
        heap.slabs.check().expect("whole slabs");
        heap.slabs.return_empty(&heap.regions);
        assert_eq!(heap.regions.stats().used, 0, "nothing is lost");
    })
    .atomics(1024)
    .preemptions(2)
    .verify(&[LOCK]);
}

/// What a fork that has all locks finds in its copy.
#[test]
fn a_page_has_a_class_exactly_while_its_slab_is_counted() {
    Model::new(|| {
        let heap = Heap::new(Capabilities::empty());
        let heap = heap.lend();
        // Two slabs: one stays when the other runs empty.
        let full = heap.claim(class().info().objects as usize);
        let other = spawn(move || {
            let own = heap.claim(1);
            heap.release(&own);
            heap.slabs.return_empty(&heap.regions);
        });
        {
            let slabs = heap.slabs.nodes.first()[class().index()].lock();
            let mut marked = 0;
            let walked = heap.regions.walk(|run| {
                marked += u32::from(run.class == class());
                Ok(())
            });
            walked.expect("every slab is marked as a whole, or not at all");
            assert_eq!(marked, slabs.slabs, "S6");
        }
        other.join();
        heap.release(&full);
        heap.slabs.return_empty(&heap.regions);
        assert_eq!(heap.regions.stats().used, 0);
    })
    .atomics(1024)
    .preemptions(2)
    .verify(&[LOCK]);
}
