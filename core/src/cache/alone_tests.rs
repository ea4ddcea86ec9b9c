//! The front end of one thread: its duties, and who is told that it is not alone.

use std::alloc::Layout;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;

use super::*;
use crate::base::config::Config;
use crate::base::sync::Lock;
use crate::check::arena::Arena;
use crate::check::conformance::front_end;
use crate::check::surroundings::{TestEnv, for_ever};
use crate::heap::Heap;
use crate::provider::Capabilities;

std::thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(1) };
}

/// Threads have numbers, and are promised not to meet.
#[derive(Debug)]
struct Numbered;

// SAFETY: as `TestEnv`; each test's heap is used by one thread.
unsafe impl Environment for Numbered {
    type Exclusion = ();

    fn shared() -> bool {
        false
    }

    fn exclude() {}

    fn wait(_spins: u32) {
        unreachable!("there is nobody to wait for");
    }

    fn now_ms() -> u32 {
        0
    }

    fn thread() -> u32 {
        NUMBER.get()
    }

    fn fatal(fault: Fault) -> ! {
        TestEnv::fatal(fault)
    }
}

struct Single;

impl Config for Single {
    type Pages = Arena;
    type Front = Alone<Numbered>;
    type Env = Numbered;
}

fn heap(front: Alone<Numbered>) -> Box<Heap<Single>> {
    Box::new(Heap::new(Arena::new(4096, Capabilities::all(), 1 << 30), front))
}

/// Takes and gives back a block; what is reported, if anything.
fn use_it(heap: &Heap<Single>) -> Option<String> {
    let layout = Layout::new::<[u64; 4]>();
    let used = catch_unwind(AssertUnwindSafe(|| {
        let block = core::ptr::NonNull::new(heap.alloc(layout)).expect("memory");
        // SAFETY: just allocated.
        unsafe { heap.dealloc(block, layout) };
    }));
    used.err().map(|report| *report.downcast::<String>().expect("a report"))
}

#[test]
fn the_suite_of_front_ends_holds() {
    // SAFETY: this thread's.
    let front = unsafe { Alone::<TestEnv>::of_one_thread() };
    let report = front_end(&front, for_ever(crate::check::conformance::Bench::new()));
    assert!(report.expect("all duties").checks >= 100);
}

#[test]
fn a_second_thread_is_reported_where_assertions_are() {
    // SAFETY: this thread's, whatever its number.
    let mut heap = heap(unsafe { Alone::of_one_thread() });
    assert_eq!(use_it(&heap), None);
    NUMBER.set(2);
    let report = use_it(&heap);
    assert_eq!(report.is_some(), cfg!(debug_assertions));
    assert!(report.is_none_or(|report| report == std::format!("{}", FaultKind::NotAlone)));
    heap.lower.front.hand_over();
    assert_eq!(use_it(&heap), None);
    NUMBER.set(1);
    assert_eq!(use_it(&heap).is_some(), cfg!(debug_assertions));
    NUMBER.set(0);
    heap.lower.front.hand_over();
    assert_eq!(use_it(&heap), None, "a thread without a number");
}

#[test]
fn what_is_handed_over_may_come_from_anywhere() {
    // SAFETY: this thread's, whatever its number.
    let heap = heap(unsafe { Alone::new() });
    for number in [1, 2, 0, 7] {
        NUMBER.set(number);
        assert_eq!(use_it(&heap), None);
    }
}

#[test]
fn a_call_inside_of_a_call_is_reported_and_not_waited_for() {
    let lock = Lock::<u32, Numbered>::new(7);
    let held = lock.lock();
    assert!(lock.try_lock().is_none());
    let nested = catch_unwind(AssertUnwindSafe(|| drop(lock.lock())));
    let report = nested.expect_err("a report").downcast::<String>().expect("a text");
    assert_eq!(*report, std::format!("{}", FaultKind::NotAlone));
    drop(held);
    assert_eq!(*lock.lock(), 7);
}
