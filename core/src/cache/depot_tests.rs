//! The depot against a list of sheaves.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cache::sheaf::max_order;
use crate::check::surroundings::{TestConfig, cases, object, sheaf, unless_miri};

fn full(class: Class, order: u8, number: usize) -> Sheaf {
    let mut sheaf = sheaf(class, order);
    (0..capacity(class, order)).for_each(|at| sheaf.push(object(number * 1000 + at)));
    sheaf
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Put(u8, usize),
    Take,
    Trim,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let limit = prop::sample::select(std::vec![0usize, 1, 4096, 64 << 10, 512 << 10]);
    let action = prop_oneof![
        5 => (0..5u8, limit).prop_map(|(order, limit)| Action::Put(order, limit)),
        3 => Just(Action::Take),
        1 => Just(Action::Trim),
    ];
    prop::collection::vec(action, 1..unless_miri(200, 40))
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_depot_loses_nothing_and_trims_what_was_not_needed(
        class in (1..CLASSES as u8).prop_map(Class::from_index),
        actions in actions(),
    ) {
        let depot = Depot::<TestConfig>::new();
        let mut shadow: Vec<(usize, u8)> = Vec::new();
        // The fewest sheaves since the last trim.
        let mut low = 0;
        let bytes = |kept: &[(usize, u8)]| -> usize {
            kept.iter().map(|&(_, order)| capacity(class, order) * class.size()).sum()
        };
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Put(order, limit) => {
                    let order = order.min(max_order(class));
                    let new = capacity(class, order) * class.size();
                    let room = bytes(&shadow) + new <= limit;
                    let accepts = room || (shadow.is_empty() && limit > 0);
                    let back = depot.put(class, full(class, order, number), limit);
                    prop_assert_eq!(back.is_none(), accepts);
                    if accepts {
                        shadow.push((number, order));
                    }
                }
                Action::Take => {
                    let taken = depot.take(class);
                    prop_assert_eq!(taken.is_some(), !shadow.is_empty());
                    if let (Some(mut taken), Some((number, order))) = (taken, shadow.pop()) {
                        prop_assert_eq!(taken.len(), capacity(class, order));
                        prop_assert_eq!(taken.pop(), Some(object(number * 1000 + taken.len())));
                    }
                }
                Action::Trim => {
                    let unneeded = depot.trim(class) as usize;
                    prop_assert_eq!(unneeded, low, "the least there were");
                    for _ in 0..unneeded {
                        prop_assert!(depot.take(class).is_some());
                        shadow.pop();
                    }
                    low = shadow.len();
                }
            }
            low = low.min(shadow.len());
            prop_assert_eq!(depot.bytes(class), bytes(&shadow));
            // Other classes are not affected.
            let others: usize = Class::all().map(|class| depot.bytes(class)).sum();
            prop_assert_eq!(others, bytes(&shadow));
        }
    }
}
