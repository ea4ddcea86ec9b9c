//! Arenas against a list of what was put in; what is dropped, and in which
//! order; and when memory is short.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::vec::Vec;
use std::{string::String, vec};

use allocator_api2::alloc::Global;
use proptest::prelude::*;

use super::*;
use crate::check::counting::Counting;
use crate::check::surroundings::{cases, unless_miri};

/// Blocks, by start, length and what they are filled with.
type Live = Vec<(NonNull<u8>, usize, u8)>;

fn fill(live: &mut Live, block: NonNull<u8>, layout: Layout) {
    assert!(block.addr().get().is_multiple_of(layout.align()));
    let mark = live.len() as u8;
    // SAFETY: just taken.
    unsafe { block.write_bytes(mark, layout.size()) };
    live.push((block, layout.size(), mark));
}

fn intact(live: &Live) -> bool {
    // Overlaps reach an end of one or the other.
    let step = unless_miri(1, 97);
    live.iter().all(|&(block, bytes, mark)| {
        let ends = (0..bytes).step_by(step).chain(bytes.checked_sub(1));
        // SAFETY: filled, and not given up.
        ends.into_iter().all(|at| unsafe { block.add(at).read() } == mark)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Take(Layout),
    Scope(Vec<Step>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![8 => 0usize..200, 1 => 200usize..10_000];
    let take = (size, 0u32..9).prop_map(|(size, shift)| {
        Step::Take(Layout::from_size_align(size, 1 << shift).expect("a layout"))
    });
    let step = take.prop_recursive(4, 128, 32, |inner| {
        prop_oneof![
            4 => inner.clone(),
            1 => proptest::collection::vec(inner, 0..32).prop_map(Step::Scope),
        ]
    });
    proptest::collection::vec(step, 0..48)
}

fn run(scope: &mut Scope<'_, &Counting>, steps: &[Step], live: &mut Live) {
    let before = live.len();
    for step in steps {
        match step {
            Step::Take(layout) => {
                let block = (&*scope).allocate(*layout).expect("memory").cast();
                fill(live, block, *layout);
            }
            Step::Scope(steps) => scope.scope(|inner| run(inner, steps, live)),
        }
    }
    assert!(intact(live));
    live.truncate(before);
}

proptest! {
    #![proptest_config(cases(100))]

    /// What is live keeps its bytes, in any nest of scopes; and the second time
    /// needs no more memory than the first.
    #[test]
    fn blocks_keep_to_themselves(steps in steps()) {
        let memory = Counting::new(usize::MAX);
        let mut arena = Arena::new_in(&memory);
        let mut bytes = None;
        for _ in 0..3 {
            let mut live = Live::new();
            fill(&mut live, arena.alloc_layout(Layout::new::<u8>()).expect("memory"), Layout::new::<u8>());
            arena.scope(|scope| run(scope, &steps, &mut live));
            prop_assert!(intact(&live));
            arena.reset();
            prop_assert_eq!(arena.bytes(), memory.bytes());
            prop_assert!(bytes.is_none_or(|bytes| bytes == memory.bytes()));
            bytes = Some(memory.bytes());
        }
        arena.reset_to(2048);
        prop_assert!(arena.bytes() <= 2048 && memory.bytes() == arena.bytes());
        drop(arena);
        prop_assert_eq!(memory.bytes(), 0);
    }
}

/// Says when it is dropped.
struct Tells(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.1.lock().expect("no panic").push(self.0);
    }
}

#[test]
fn what_was_put_in_last_ends_first() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let tells = |name| Tells(name, Arc::clone(&said));
    let mut arena = Arena::new_in(Global);
    arena.alloc_owned(tells("outer")).expect("memory");
    arena.scope(|scope| {
        scope.alloc_owned(tells("first")).expect("memory");
        let last = tells("called");
        scope.defer(move || drop(last)).expect("memory");
        scope.scope(|inner| inner.alloc_owned(tells("inner")).map(drop)).expect("memory");
        scope.alloc_owned(tells("second")).expect("memory");
    });
    assert_eq!(*said.lock().expect("no panic"), ["inner", "second", "called", "first"]);
    arena.reset();
    assert_eq!(said.lock().expect("no panic").pop(), Some("outer"));
    arena.alloc_owned(tells("last")).expect("memory");
    drop(arena);
    assert_eq!(said.lock().expect("no panic").pop(), Some("last"));
}

#[test]
fn what_is_not_owned_is_not_dropped() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut arena = Arena::new_in(Global);
    let silent = arena.alloc(Tells("by its user", Arc::clone(&said))).expect("memory");
    // SAFETY: read once; the arena's copy is not used any more.
    let silent = unsafe { std::ptr::from_mut(silent).read() };
    arena.reset();
    assert!(said.lock().expect("no panic").is_empty());
    drop(silent);
    assert_eq!(*said.lock().expect("no panic"), ["by its user"]);
}

#[test]
fn what_unwinds_leaves_the_rest_to_be_done() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut arena = Arena::new_in(Global);
    arena.alloc_owned(Tells("older", Arc::clone(&said))).expect("memory");
    arena.defer(|| panic!("in an action")).expect("memory");
    arena.alloc_owned(Tells("newer", Arc::clone(&said))).expect("memory");
    assert!(catch_unwind(AssertUnwindSafe(|| arena.reset())).is_err());
    assert_eq!(*said.lock().expect("no panic"), ["newer"]);
    arena.reset();
    assert_eq!(*said.lock().expect("no panic"), ["newer", "older"]);
    let work = catch_unwind(AssertUnwindSafe(|| {
        arena.scope(|scope| {
            scope.alloc_owned(Tells("in a scope", Arc::clone(&said))).expect("memory");
            panic!("in the work");
        })
    }));
    assert!(work.is_err() && said.lock().expect("no panic").last() == Some(&"in a scope"));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let memory = Counting::new(4096);
    let mut arena = Arena::new_in(&memory);
    let first = arena.alloc_slice(&[7u8; 500]).expect("memory");
    assert!(arena.alloc([0u8; 8000]).is_err());
    let second = arena.alloc_slice(&[8u8; 100]).expect("memory");
    assert_eq!((memory.bytes(), first[499], second[99]), (1024, 7, 8));
    let huge = Layout::from_size_align(isize::MAX as usize - 4095, 4096).expect("a layout");
    assert!(arena.alloc_layout(huge).is_err());
    arena.reset();
    assert!(arena.alloc_slice(&[1u8; 900]).is_ok());
    assert_eq!(memory.bytes(), 1024);
}

#[test]
fn a_vector_grows_in_place() {
    let memory = Counting::new(usize::MAX);
    let mut arena = Arena::new_in(&memory);
    arena.alloc_layout(Layout::new::<[u8; 5000]>()).expect("memory");
    arena.reset();
    let mut numbers = allocator_api2::vec::Vec::new_in(&arena);
    numbers.push(0u32);
    let start = numbers.as_ptr();
    numbers.extend(1..200);
    assert!(numbers.as_ptr() == start && numbers.iter().copied().eq(0..200));
    let aside = arena.alloc(1u8).expect("memory");
    numbers.extend(200..400);
    assert!(numbers.as_ptr() != start && numbers.iter().copied().eq(0..400) && *aside == 1);
    numbers.shrink_to_fit();
    drop(numbers);
    let text = arena.alloc_str("text").expect("memory");
    assert_eq!(text, "text");
}

#[test]
fn owned_values_need_not_be_plain() {
    let mut arena = Arena::new_in(Global);
    let all = arena.scope(|scope| {
        let words = scope.alloc_owned(vec![String::from("a"), String::from("b")]).expect("memory");
        words.push(String::from("c"));
        words.concat()
    });
    assert_eq!(all, "abc");
}
