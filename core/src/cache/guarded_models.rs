//! Fast paths of one CPU against drains by another: every object is in one
//! place, and who stops a CPU finds nobody inside.

use std::vec::Vec;

use super::*;
use crate::cache::sheaf::Sheaf;
use crate::check::model::{Model, migrate, spawn};
use crate::check::model_surroundings::{
    ALL, ModelCpu, ModelEnv, NO_QUIESCE, NOT_ALONE, Objects, Owned, SheafBlock, numbers,
};

const CLASS: Class = Class::from_index(1);

/// A front end, and a slot with a sheaf of two objects on CPU 0.
struct Cpus<const KEEPS: u8> {
    front: Owned<Guarded<ModelCpu<KEEPS>, ModelEnv, 2>>,
    slot: Owned<Slot<ModelEnv>>,
    objects: Owned<Objects<3>>,
    blocks: [Owned<SheafBlock>; 3],
}

impl<const KEEPS: u8> Cpus<KEEPS> {
    fn new() -> Self {
        let cpus = Self {
            front: Owned::new(Guarded::new()),
            slot: Owned::new(Slot::new(None)),
            objects: Objects::new(),
            blocks: core::array::from_fn(|_| SheafBlock::new()),
        };
        assert!(cpus.front().attach(cpus.slot.lend()));
        let top = cpus.sheaf(0, &[0, 1]).into_top();
        // SAFETY: the sheaf is new.
        assert!(unsafe { cpus.front().swap(CLASS, Top::sentinel(), top) });
        cpus
    }

    fn front(&self) -> &'static Guarded<ModelCpu<KEEPS>, ModelEnv, 2> {
        self.front.lend()
    }

    fn sheaf(&self, block: usize, objects: &[usize]) -> Sheaf {
        let mut sheaf = self.blocks[block].lend().format(CLASS);
        objects.iter().for_each(|number| sheaf.push(self.objects.lend().object(*number)));
        sheaf
    }

    /// Empties the slot, at rest: what is in it and what `others` have are all
    /// objects, each once.
    fn finish(&self, others: impl IntoIterator<Item = usize>) {
        // SAFETY: at rest.
        let top = unsafe { self.slot.lend().tops().take(CLASS) };
        let mut all = numbers(top, self.objects.lend());
        all.extend(others);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2], "each object in one place");
    }
}

/// Pops and pushes on CPU 0; the objects that are kept.
fn hits<const KEEPS: u8>(
    front: &Guarded<ModelCpu<KEEPS>, ModelEnv, 2>,
    objects: &Objects<3>,
) -> Vec<usize> {
    let mut kept = Vec::new();
    let popped = front.pop(CLASS);
    if !popped.is_null() {
        kept.push(objects.number(popped));
    }
    let own = objects.object(2).as_ptr();
    objects.number(own);
    // SAFETY: object 2 is the caller's.
    if !unsafe { front.push(CLASS, own) } {
        kept.push(2);
    }
    kept
}

/// A drain while CPU 0 pops and pushes, and when it does again.
fn drained<const KEEPS: u8>() {
    let cpus = Cpus::<KEEPS>::new();
    let (front, slot, objects) = (cpus.front(), cpus.slot.lend(), cpus.objects.lend());
    let other = spawn(move || hits(front, objects));
    migrate(1);
    let mut kept = Vec::new();
    if front.stop(slot) {
        // SAFETY: stopped.
        kept.extend(numbers(unsafe { slot.tops().take(CLASS) }, objects));
        front.restart(slot);
    }
    kept.extend(other.join());
    cpus.finish(kept);
}

#[test]
fn a_drain_finds_nobody_inside() {
    // The guard itself orders entries of one CPU, which is its duty.
    Model::new(drained::<ALL>).verify(&[
        "place.rs: self.tops.load & without Acquire",
        "place.rs: Ordering::Release); & without Release",
        "model_surroundings.rs: BUSY",
    ]);
}

#[test]
fn a_drain_that_does_not_wait_finds_somebody() {
    Model::new(drained::<NO_QUIESCE>).fails();
}

/// Two drains, of which one stops the CPU at a time.
fn drained_twice<const KEEPS: u8>() {
    let cpus = Cpus::<KEEPS>::new();
    let (front, slot, objects) = (cpus.front(), cpus.slot.lend(), cpus.objects.lend());
    let drain = move |cpu| {
        migrate(cpu);
        if !front.stop(slot) {
            return Vec::new();
        }
        // SAFETY: stopped.
        let taken = numbers(unsafe { slot.tops().take(CLASS) }, objects);
        front.restart(slot);
        taken
    };
    let other = spawn(move || drain(0));
    let mut taken = drain(1);
    taken.extend(other.join());
    taken.push(2);
    cpus.finish(taken);
}

#[test]
fn two_drains_exclude_each_other() {
    Model::new(drained_twice::<ALL>).verify(&[
        "place.rs: self.tops.compare_exchange",
        "place.rs: Ordering::Release); & without Release",
    ]);
}

/// Two threads on one CPU: both swap a sheaf of their own in for what they
/// saw, which the other may have popped from or swapped meanwhile.
fn swapped<const KEEPS: u8>() {
    let cpus = Cpus::<KEEPS>::new();
    let (front, slot, objects) = (cpus.front(), cpus.slot.lend(), cpus.objects.lend());
    let popped = front.pop(CLASS);
    let mut kept: Vec<_> = core::iter::once(objects.number(popped)).collect();
    let new = cpus.sheaf(1, &[2]).into_top();
    let new = new.as_ptr().expose_provenance();
    let other = spawn(move || {
        let expected = slot.tops().get(CLASS);
        let new = core::ptr::with_exposed_provenance_mut(new);
        let new = Top(core::ptr::NonNull::new(new).expect("not null"));
        // SAFETY: the sheaf is this thread's.
        let old = if unsafe { front.swap(CLASS, expected, new) } { expected } else { new };
        numbers(old, objects)
    });
    let popped = front.pop(CLASS);
    if !popped.is_null() {
        kept.push(objects.number(popped));
    }
    kept.extend(other.join());
    cpus.finish(kept);
}

#[test]
fn a_sheaf_has_one_owner() {
    Model::new(swapped::<ALL>).verify(&["model_surroundings.rs: BUSY"]);
}

#[test]
fn without_the_guard_a_sheaf_has_two() {
    Model::new(swapped::<NOT_ALONE>).fails();
}
