//! Sheaves against stacks, lists of them against stacks of stacks.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cache::tops::Tops;
use crate::check::surroundings::{cases, max_order, object, sheaf, unless_miri};

fn classes() -> impl Strategy<Value = Class> {
    (1..crate::base::class::CLASSES as u8).prop_map(Class::from_index)
}

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

    /// Full and empty sheaves of all orders come out as they went in.
    #[test]
    fn a_list_is_a_stack_of_sheaves(
        class in classes(),
        steps in prop::collection::vec(prop::option::of(0..ORDERS as u8), 1..80),
        full in any::<bool>(),
    ) {
        let mut list = SheafList::new();
        let mut shadow = Vec::new();
        let len = |order| if full { capacity(class, order) } else { 0 };
        for (number, step) in steps.into_iter().enumerate() {
            if let Some(order) = step {
                let order = order.min(max_order(class));
                let mut new = sheaf(class, order);
                (0..len(order)).for_each(|at| new.push(object(number * 1000 + at)));
                shadow.push((number, order));
                list.push(new);
            } else {
                let popped = list.pop(len);
                prop_assert_eq!(popped.is_some(), !shadow.is_empty());
                if let (Some(mut sheaf), Some((number, order))) = (popped, shadow.pop()) {
                    prop_assert_eq!((sheaf.order(), sheaf.len()), (order, len(order)));
                    for at in (0..len(order)).rev() {
                        prop_assert_eq!(sheaf.pop(), Some(object(number * 1000 + at)));
                    }
                }
            }
            prop_assert_eq!(list.count() as usize, shadow.len());
        }
    }
}

fn slots_left(sheaf: &Sheaf, class: Class) -> usize {
    capacity(class, sheaf.order()) - sheaf.len()
}
