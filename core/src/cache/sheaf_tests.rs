//! Sheaves against stacks.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cache::tops::Tops;
use crate::check::surroundings::{cases, classes, object, sheaf, unless_miri};

/// A class and an order that its sheaves may have.
fn kinds() -> impl Strategy<Value = (Class, u8)> {
    classes().prop_flat_map(|class| (Just(class), 0..=max_order(class)))
}

#[test]
fn capacities_fit_blocks_and_classes() {
    for class in Class::all() {
        assert!(usize::from(max_order(class)) < ORDERS);
        for order in 0..=max_order(class) {
            let capacity = capacity(class, order);
            assert!((1..=words(order) - 2).contains(&capacity), "{class:?} {order}");
            assert!(capacity <= class.info().sheaf_max.into(), "{class:?} {order}");
        }
        let next = max_order(class) + 1;
        let larger = words(next) - 2 <= class.info().sheaf_max.into();
        assert!(usize::from(next) == ORDERS || !larger, "{class:?} could have larger sheaves");
    }
}

#[test]
fn the_sentinel_is_empty_and_full() {
    let top = Top::sentinel();
    assert!(top.is_sentinel() && top.is_empty() && top.is_full());
    assert_eq!(top.len(), 0);
}

#[test]
fn a_top_is_at_an_end_only_if_a_mark_says_so() {
    let class = Class::of(48, 8);
    for order in 0..=max_order(class) {
        let room = capacity(class, order);
        let mut given = sheaf(class, order);
        for len in 0..=room {
            let block = given.block;
            let top = given.into_top();
            for (end, at) in [(End::Empty, 0), (End::Full, room)] {
                // SAFETY: the test's own, of the class; none but the last is used.
                let (is, seen) = match unsafe { Sheaf::from_end(top, class, end) } {
                    Ok(seen) => (true, seen),
                    Err(seen) => (false, seen),
                };
                assert_eq!((is, seen.len(), seen.block), (len == at, len, block));
            }
            // SAFETY: as above.
            given = unsafe { Sheaf::from_top(top) };
            if len < room {
                given.push(object(len));
            }
        }
    }
}

/// A block that was of a larger class has its end mark elsewhere.
#[test]
fn a_block_formatted_again_has_no_stale_end() {
    let (small, large) = (Class::of(8, 8), Class::of(32 << 10, 8));
    let block = sheaf(large, 0).into_block();
    // SAFETY: the sheaf was ours and empty.
    let mut again = unsafe { Sheaf::format(block, small, 0) };
    for number in 0..capacity(small, 0) {
        again.push(object(number));
    }
    let top = again.into_top();
    assert!(top.is_full());
    assert_eq!(top.len(), 6);
}

proptest! {
    #![proptest_config(cases(64))]

    /// Pops, pushes and trips through a top, as a sheaf and through tops.
    #[test]
    fn a_sheaf_is_a_bounded_stack(
        (class, order) in kinds(),
        actions in prop::collection::vec(0..5u8, 1..unless_miri(300, 60)),
    ) {
        let tops = Tops::new();
        let room = capacity(class, order);
        let mut sheaf = sheaf(class, order);
        let mut shadow = Vec::new();
        for (number, action) in actions.into_iter().enumerate() {
            let new = object(number);
            match action {
                // Through the tops, like a fast path.
                0 | 1 => {
                    let top = sheaf.into_top();
                    prop_assert_eq!(top.is_empty(), shadow.is_empty());
                    prop_assert_eq!(top.is_full(), shadow.len() == room);
                    // SAFETY: the tops and the sheaf are the test's alone.
                    unsafe {
                        prop_assert!(tops.swap(class, Top::sentinel(), top));
                        if action == 0 {
                            let popped = NonNull::new(tops.pop(class));
                            prop_assert_eq!(popped, shadow.pop());
                        } else if tops.push(class, new.as_ptr()) {
                            shadow.push(new);
                        } else {
                            prop_assert_eq!(shadow.len(), room, "a miss with room");
                        }
                        sheaf = Sheaf::from_top(tops.take(class));
                    }
                    prop_assert!(tops.get(class).is_sentinel());
                }
                2 => prop_assert_eq!(sheaf.pop(), shadow.pop()),
                3 if shadow.len() < room => {
                    sheaf.push(new);
                    shadow.push(new);
                }
                4 if number % 9 == 0 => {
                    sheaf.clear();
                    shadow.clear();
                }
                _ => {}
            }
            prop_assert_eq!((sheaf.len(), sheaf.order()), (shadow.len(), order));
            let objects = sheaf.objects().iter().map(|word| word.load(Relaxed));
            prop_assert!(objects.eq(shadow.iter().map(|object| object.as_ptr())));
        }
    }

    /// What fills from the end, partly or wholly, comes out front first.
    #[test]
    fn fill_keeps_the_order((class, order) in kinds(), part in any::<prop::sample::Index>()) {
        let room = capacity(class, order);
        let wanted = part.index(room + 1);
        let mut sheaf = sheaf(class, order);
        let filled = sheaf.fill(class, |slots| {
            for (number, slot) in slots.iter().rev().take(wanted).enumerate() {
                slot.store(object(number).as_ptr(), Relaxed);
            }
            wanted
        });
        prop_assert_eq!((filled, slots_left(&sheaf, class)), (wanted, room - wanted));
        for number in 0..wanted {
            prop_assert_eq!(sheaf.pop(), Some(object(number)));
        }
        prop_assert_eq!(sheaf.pop(), None);
    }
}

fn slots_left(sheaf: &Sheaf, class: Class) -> usize {
    capacity(class, sheaf.order()) - sheaf.len()
}
