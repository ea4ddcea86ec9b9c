//! Values are made once, and end once.

use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::check::counting::Counting;

#[test]
fn values_are_kept_as_they_are() {
    let (memory, made) = (Counting::new(usize::MAX), Cell::new(0));
    let make = || {
        made.set(made.get() + 1);
        String::with_capacity(100)
    };
    let cache = ObjectCache::new_in(make, &memory);
    for round in 0..10 {
        let mut some: Vec<_> = (0..7).map(|_| cache.get().expect("memory")).collect();
        assert!(some.iter().all(|value| value.capacity() == 100));
        assert_eq!(some.iter().all(|value| value.ends_with("used")), round > 0);
        some.iter_mut().filter(|value| value.is_empty()).for_each(|value| value.push_str("used"));
    }
    assert_eq!((made.get(), cache.made()), (7, 7));
    let held = cache.get().expect("memory");
    cache.reap();
    assert_eq!((cache.made(), held.as_str()), (1, "used"));
    drop(held);
    drop(cache);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn values_end_with_the_cache() {
    let (memory, shared) = (Counting::new(usize::MAX), Rc::new(()));
    let cache = ObjectCache::new_in(|| Rc::clone(&shared), &memory);
    let some: Vec<_> = (0..50).map(|_| cache.get().expect("memory")).collect();
    drop(some);
    assert_eq!(Rc::strong_count(&shared), 51);
    drop(cache);
    assert_eq!((Rc::strong_count(&shared), memory.bytes()), (1, 0));
}

#[test]
fn a_constructor_that_unwinds_or_no_memory_leaves_nothing() {
    let (memory, fails) = (Counting::new(usize::MAX), Cell::new(true));
    let make = || {
        assert!(!fails.get(), "told to fail");
        [0u8; 1000]
    };
    let cache = ObjectCache::new_in(make, &memory);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(cache.get()))).is_err());
    assert_eq!(cache.made(), 0);
    fails.set(false);
    drop(cache.get().expect("memory"));
    memory.limit(0);
    let held: Vec<_> = core::iter::from_fn(|| cache.get().ok()).collect();
    assert_eq!(held.len(), cache.made());
    assert!(cache.get().is_err());
}
