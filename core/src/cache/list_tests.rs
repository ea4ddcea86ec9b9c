//! A list of sheaves against a stack of what was put in.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cache::sheaf::{ORDERS, capacity, max_order};
use crate::check::surroundings::{cases, classes, object, sheaf};

proptest! {
    #![proptest_config(cases(64))]

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
            let mut shown = Vec::new();
            list.each(len, |objects| shown.push(objects.len()));
            let lens: Vec<_> = shadow.iter().rev().map(|&(_, order)| len(order)).collect();
            prop_assert_eq!(shown, lens);
        }
    }
}
