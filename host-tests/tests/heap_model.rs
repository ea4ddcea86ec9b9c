//! Sequences of actions that proptest makes and shrinks, on one heap after
//! another, against the shadow.

use std::alloc::Layout;

use granule_core::{Config, Heap};
use granule_host_tests::model::faulty::Faulty;
use granule_host_tests::model::fixtures::{HoppingCpus, OneCpu, heap};
use granule_host_tests::model::{Fill, Free, Shadow, check_empty};
use proptest::prelude::*;

/// One thing a program does.
#[derive(Clone, Copy, Debug)]
enum Action {
    Alloc(Layout, Fill),
    Free(usize, Free),
    Realloc(usize, usize),
    Reclaim,
    Count,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..300usize,
        4 => 0..5000usize,
        2 => 0..70_000usize,
        1 => 0..(5usize << 20),
        // The edges of classes, of slabs, of what a class serves, of pages.
        4 => (3u32..22, 0..3usize).prop_map(|(shift, side)| (1 << shift) + side - 1),
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    let shift = prop_oneof![8 => 0..5u32, 2 => 5..13u32, 1 => 13..23u32];
    (size(), shift).prop_map(|(size, shift)| {
        Layout::from_size_align(size, 1 << shift).expect("a valid layout")
    })
}

fn action() -> impl Strategy<Value = Action> {
    let fill = prop_oneof![2 => Just(Fill::Any), 2 => Just(Fill::Zero), 1 => Just(Fill::NoLock)];
    let free = prop_oneof![Just(Free::Sized), Just(Free::Unsized), Just(Free::NoLock)];
    prop_oneof![
        10 => (layout(), fill).prop_map(|(layout, fill)| Action::Alloc(layout, fill)),
        7 => (any::<usize>(), free).prop_map(|(number, how)| Action::Free(number, how)),
        5 => (any::<usize>(), size()).prop_map(|(number, size)| Action::Realloc(number, size)),
        1 => Just(Action::Reclaim),
        1 => Just(Action::Count),
    ]
}

fn run<C: Config>(heap: &Heap<C>, actions: &[Action]) {
    let mut shadow = Shadow::new(heap);
    for &action in actions {
        match action {
            Action::Alloc(layout, fill) => {
                // The call that never waits may fail at any time.
                let done = shadow.alloc(layout, fill) || fill == Fill::NoLock;
                assert!(done, "{layout:?}");
            }
            Action::Free(number, how) => shadow.free(number, how),
            Action::Realloc(number, size) => assert!(shadow.realloc(number, size), "{size}"),
            Action::Reclaim => {
                heap.reclaim();
            }
            Action::Count => shadow.check_counts(),
        }
    }
    shadow.check_counts();
    shadow.free_all(actions.len());
    check_empty(heap);
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 1..400)
}

static OWN: granule::Heap = granule::new_heap();

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn one_cpu(actions in actions()) {
        run(heap::<_, OneCpu>(Faulty::new(usize::MAX)), &actions);
    }

    #[test]
    fn hopping_cpus_with_refused_entries(actions in actions()) {
        run(heap::<_, HoppingCpus>(Faulty::new(usize::MAX)), &actions);
    }

    #[test]
    fn a_heap_beside_the_process_heap(actions in actions()) {
        run(&OWN, &actions);
    }

    #[test]
    fn the_process_heap(actions in actions()) {
        run(granule::process_heap(), &actions);
    }
}
