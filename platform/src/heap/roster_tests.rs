//! The order of the list, and which of several that match is found.

use core::cell::RefCell;
use std::boxed::Box;
use std::vec::Vec;

use super::*;
use crate::imp::env::HostEnv;

struct Item {
    name: char,
    links: Links<Item>,
}

impl Linked for Item {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

type Items = Roster<Item, HostEnv>;

/// An item that is entered.
fn enter(items: &Items, name: char, outer: Option<NonNull<Item>>, calls: bool) -> NonNull<Item> {
    let item = Box::leak(Box::new(Item { name, links: Links::new(outer, calls) }));
    let item = NonNull::from(item);
    // SAFETY: new, and leaked until `end`.
    unsafe { items.enter(item) };
    item
}

/// Ends the test's items.
fn end(items: &Items, all: &[NonNull<Item>]) {
    for &item in all {
        // SAFETY: of `enter`, alive, and ended once, when it is in the list no more.
        unsafe {
            items.leave(item);
            drop(Box::from_raw(item.as_ptr()));
        }
    }
    assert!(!items.any());
}

/// The order in which a fork closes them.
fn held(items: &Items) -> std::string::String {
    let names = RefCell::new(Vec::new());
    items.hold(|item| names.borrow_mut().push(item.name));
    // SAFETY: just held.
    unsafe { items.unhold(|_| ()) };
    names.into_inner().into_iter().collect()
}

#[test]
fn a_fork_closes_those_that_call_first_and_the_newest_of_them_in_front() {
    let items = Items::new();
    let pool = enter(&items, 'p', None, true);
    let heap = enter(&items, 'h', None, false);
    let inner = enter(&items, 'i', Some(heap), false);
    let newer = enter(&items, 'q', None, true);
    let last = enter(&items, 'l', None, false);
    assert_eq!(held(&items), "qplih");
    // As a reset does.
    for item in [pool, heap, newer] {
        // SAFETY: in the list, and alive; then out of it.
        unsafe {
            items.leave(item);
            items.enter(item);
        }
    }
    assert_eq!(held(&items), "qplh", "the inner one has left with the outer one");
    // SAFETY: out of the list.
    unsafe { items.enter(inner) };
    assert_eq!(held(&items), "qplih");
    end(&items, &[newer, pool, inner, heap, last]);
}

#[test]
fn what_fits_most_closely_is_found_wherever_it_is() {
    let items = Items::new();
    let all = ['a', 'b', 'c', 'd'].map(|name| enter(&items, name, None, name == 'b'));
    let found = |fits: [Option<usize>; 4]| {
        let looks = RefCell::new(0);
        let fit = |item: &Item| {
            *looks.borrow_mut() += 1;
            fits[item.name as usize - 'a' as usize]
        };
        (items.find(fit, |item| item.name), looks.into_inner())
    };
    assert_eq!(found([None; 4]), (None, 4));
    assert_eq!(found([Some(7), None, Some(9), None]), (Some('a'), 4));
    assert_eq!(found([Some(9), None, Some(7), Some(8)]), (Some('c'), 4));
    assert_eq!(found([Some(9), Some(3), Some(7), None]), (Some('b'), 4));
    // The list is b, d, c, a.
    assert_eq!(found([None, None, Some(0), Some(4)]), (Some('c'), 3));
    end(&items, &all);
}
