//! A place that two offer a slot for, and a third looks at.

use super::*;
use crate::base::sync::plain;
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::{ModelEnv, Owned};

#[test]
fn one_slot_is_attached_and_whole() {
    Model::new(|| {
        let place = Owned::new(Place::new());
        let slots: [_; 2] = core::array::from_fn(|_| Owned::new(Slot::<ModelEnv>::new(None)));
        let offer = |place: &'static Place, slot: &'static Slot<ModelEnv>| {
            // As the registry does with a slot that is new.
            plain::wrote(slot);
            // SAFETY: of this environment.
            unsafe { place.attach(slot) }
        };
        let (place, [mine, others]) = (place.lend(), slots.each_ref().map(Owned::lend));
        let other = spawn(move || offer(place, others));
        // SAFETY: of this environment.
        if let Some(seen) = unsafe { place.slot::<ModelEnv>() } {
            seen.refills.count();
        }
        let attached = offer(place, mine);
        // What a fast path acts on is whole, too.
        let top = place.tops().get(Class::from_index(1));
        assert!(top.is_sentinel());
        let others_attached = other.join();
        assert!(attached != others_attached, "one of two");
        // SAFETY: of this environment.
        let seen = unsafe { place.slot::<ModelEnv>() }.expect("attached");
        assert!(core::ptr::eq(seen, if attached { mine } else { others }));
    })
    .verify(&["place.rs: "]);
}
