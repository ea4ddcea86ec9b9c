//! Pools against a list of what was put in, and when memory is short.

use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use allocator_api2::boxed::Box;
use proptest::prelude::*;

use super::*;
use crate::check::counting::Counting;
use crate::check::surroundings::cases;

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Drop(usize),
    Move(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<u64>().prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Move),
    ];
    proptest::collection::vec(step, 0..400)
}

/// A value as large and aligned as wanted, which knows its neighbours' bytes.
fn behaves<const WORDS: usize>(steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = Counting::new(usize::MAX);
    let pool = Pool::new_in(&memory);
    let mut live = Vec::new();
    for step in steps {
        match *step {
            Step::Take(value) => {
                let taken = pool.alloc([value; WORDS]).expect("memory");
                live.push((taken, value));
            }
            Step::Drop(at) if !live.is_empty() => drop(live.swap_remove(at % live.len())),
            Step::Move(at) if !live.is_empty() => {
                let (taken, value) = live.swap_remove(at % live.len());
                prop_assert_eq!(taken.into_inner(), [value; WORDS]);
            }
            Step::Drop(_) | Step::Move(_) => {}
        }
        prop_assert_eq!(pool.len(), live.len());
    }
    for (taken, value) in &live {
        prop_assert_eq!(**taken, [*value; WORDS]);
    }
    prop_assert_eq!(pool.bytes(), memory.bytes());
    drop(live);
    prop_assert!(pool.is_empty());
    drop(pool);
    prop_assert_eq!(memory.bytes(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn values_keep_to_themselves(steps in steps()) {
        behaves::<0>(&steps)?;
        behaves::<1>(&steps)?;
        behaves::<5>(&steps)?;
        behaves::<700>(&steps)?;
    }
}

/// Larger aligned than any chunk would be by itself.
#[repr(align(512))]
struct Aligned(u8);

#[test]
fn values_are_aligned() {
    let memory = Counting::new(usize::MAX);
    let pool = Pool::new_in(&memory);
    let all: Vec<_> = (0..100).map(|number| pool.alloc(Aligned(number)).expect("memory")).collect();
    assert!(all.iter().all(|value| core::ptr::from_ref(&**value).addr().is_multiple_of(512)));
    assert!(all.iter().zip(0..).all(|(value, number)| value.0 == number));
}

/// Counts its drops.
struct Counts<'a>(&'a Cell<u32>);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn values_are_dropped_once() {
    let (memory, drops) = (Counting::new(usize::MAX), Cell::new(0));
    let pool = Pool::new_in(&memory);
    let taken = pool.alloc(Counts(&drops)).expect("memory");
    let moved = pool.alloc(Counts(&drops)).expect("memory").into_inner();
    let leaked = pool.alloc(Counts(&drops)).expect("memory").leak();
    assert_eq!(leaked.0.get(), 0);
    drop((taken, moved));
    assert_eq!((drops.get(), pool.len()), (2, 1));
    drop(pool);
    assert_eq!((drops.get(), memory.bytes()), (2, 0), "what is leaked is not dropped");
}

#[test]
fn no_value_is_made_without_memory_for_it() {
    let memory = Counting::new(4096);
    let pool = Pool::new_in(&memory);
    let mut live = Vec::new();
    while let Ok(taken) = pool.alloc([1u64; 16]) {
        live.push(taken);
    }
    assert!((20..32).contains(&live.len()), "{} of 128 bytes in 4096", live.len());
    assert!(pool.alloc_with(|| unreachable!("there is no place")).is_err());
    live.pop();
    assert!(pool.alloc([2; 16]).is_ok());
}

#[test]
fn places_come_back_from_what_unwinds() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let memory = Counting::new(usize::MAX);
    let pool = Pool::new_in(&memory);
    let making = || pool.alloc_with(|| panic!("in a constructor"));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(making()))).is_err());
    let bad = pool.alloc(Bad).expect("memory");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(bad))).is_err());
    assert!(pool.is_empty());
}

#[test]
fn boxes_live_in_a_pool() {
    let memory = Counting::new(usize::MAX);
    let pool = Pool::<[u64; 4], _>::new_in(&memory);
    let boxed = Box::new_in([1u64; 3], &pool);
    assert_eq!((pool.len(), boxed[2]), (1, 1));
    assert!((&pool).allocate(Layout::new::<[u64; 5]>()).is_err(), "larger than the pool's");
    assert!((&pool).allocate(Layout::new::<Aligned>()).is_err(), "and more aligned");
    drop(boxed);
    assert!(pool.is_empty());
}
