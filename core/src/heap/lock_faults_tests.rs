//! The script with a fault at each lock in turn: it is found taken, or an
//! interrupt strikes there, on top of whatever is held. After each the walk of
//! the whole heap finds every invariant intact.

use std::alloc::Layout;
use std::cell::Cell;
use std::vec::Vec;

use core::ptr::NonNull;

use super::{Model, script};
use crate::check::arena::Arena;
use crate::check::surroundings::{AtLock, TestConfig, at_locks, interrupt, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

/// Not all numbers, where a script has thousands of locks: one in so many, which is
/// no multiple of what the script repeats; or in as many as `GRANULE_LOCK_STEP` says.
fn step() -> usize {
    let said = std::env::var("GRANULE_LOCK_STEP").ok();
    let said = said.map(|said| said.parse().expect("GRANULE_LOCK_STEP is a number above 0"));
    said.unwrap_or(unless_miri(29, 1013))
}

std::thread_local! {
    static HEAP: Cell<Option<&'static Heap<TestConfig>>> = const { Cell::new(None) };
    /// What the handler holds from one interrupt to the next, by size.
    static HELD: Cell<[Option<NonNull<u8>>; 2]> = const { Cell::new([None; 2]) };
    static SERVED: Cell<usize> = const { Cell::new(0) };
}

const LAYOUTS: [Layout; 2] = [Layout::new::<[u64; 3]>(), Layout::new::<[u64; 88]>()];

/// Frees what it holds, and takes other blocks, without waiting for anybody.
fn handler() {
    let heap = HEAP.get().expect("a heap");
    let before = HELD.take();
    let taken = LAYOUTS.map(|layout| NonNull::new(heap.try_alloc_nolock(layout)));
    for (layout, old) in LAYOUTS.into_iter().zip(before) {
        if let Some(old) = old {
            // SAFETY: the handler's own, live, of that layout.
            unsafe { heap.dealloc_nolock(old, layout) };
        }
    }
    SERVED.set(SERVED.get() + taken.iter().flatten().count());
    HELD.set(taken);
}

/// The same where the CPU's cache cannot be entered.
fn handler_on_top_of_an_entry() {
    interrupt(handler);
}

/// Plays the script with the fault; returns the locks that were about to be
/// taken.
fn play(what: AtLock) -> usize {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), 1 << 30));
    let heap = model.heap;
    HEAP.set(Some(heap));
    at_locks(what);
    for action in script(2) {
        assert!(model.act(action), "{action:?} with {what:?}");
    }
    let locks = at_locks(AtLock::Nothing);
    for (layout, held) in LAYOUTS.into_iter().zip(HELD.take()) {
        if let Some(held) = held {
            // SAFETY: the handler's, which does not run any more.
            unsafe { heap.dealloc(held, layout) };
        }
    }
    heap.free_deferred();
    heap.check().unwrap_or_else(|violation| panic!("{violation} after {what:?}"));
    model.check();
    model.finish();
    locks
}

#[test]
fn every_lock_is_found_taken_in_turn() {
    let locks = play(AtLock::Nothing);
    assert!(locks > 500, "{locks} locks");
    for number in (0..locks).step_by(step()) {
        play(AtLock::Taken(number));
    }
    for step in [2, 3, 5] {
        play(AtLock::TakenEach(step));
    }
}

#[test]
fn an_interrupt_at_every_lock_in_turn() {
    let locks = play(AtLock::Nothing);
    let handlers: Vec<fn()> = [handler as fn(), handler_on_top_of_an_entry].into();
    for handler in handlers {
        SERVED.set(0);
        for number in (0..locks).step_by(step()) {
            play(AtLock::Interrupt(number, handler));
        }
        assert!(SERVED.get() > locks / step() / 2, "{} of {locks} served", SERVED.get());
    }
}
