//! The script with a fault at each lock in turn: it is found taken, or an
//! interrupt strikes there, on top of whatever is held. After each the walk of
//! the whole heap finds every invariant intact.

use std::alloc::Layout;
use std::cell::Cell;
use std::vec::Vec;

use core::ptr::NonNull;

use super::{Action, Model, OnCpus, ROUNDS, script};
use crate::base::config::Config;
use crate::base::tier::Tier;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{
    AtLock, TestConfig, TestCpu, TestEnv, at_locks, interrupt, unless_miri,
};
use crate::heap::Heap;
use crate::provider::Capabilities;

/// Not all numbers, where a script has thousands of locks: one in so many, which is
/// no multiple of what the script repeats; or in as many as `GRANULE_LOCK_STEP` says.
fn step() -> usize {
    let said = std::env::var("GRANULE_LOCK_STEP").ok();
    let said = said.map(|said| said.parse().expect("GRANULE_LOCK_STEP is a number above 0"));
    said.unwrap_or(unless_miri(29, 401))
}

/// What a handler may call, of a heap of any tier.
trait Nolock {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// # Safety
    ///
    /// The block is live, of that layout, and not used again.
    unsafe fn give(&self, block: NonNull<u8>, layout: Layout);
}

impl<C: Config> Nolock for Heap<C> {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        NonNull::new(self.try_alloc_nolock(layout))
    }

    unsafe fn give(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { self.dealloc_nolock(block, layout) };
    }
}

std::thread_local! {
    static HEAP: Cell<Option<&'static dyn Nolock>> = const { Cell::new(None) };
    /// What the handler holds from one interrupt to the next, by size.
    static HELD: Cell<[Option<NonNull<u8>>; 2]> = const { Cell::new([None; 2]) };
    static SERVED: Cell<usize> = const { Cell::new(0) };
}

const LAYOUTS: [Layout; 2] = [Layout::new::<[u64; 3]>(), Layout::new::<[u64; 88]>()];

/// Frees what it holds, and takes other blocks, without waiting for anybody.
fn handler() {
    let heap = HEAP.get().expect("a heap");
    let before = HELD.take();
    let taken = LAYOUTS.map(|layout| heap.take(layout));
    for (layout, old) in LAYOUTS.into_iter().zip(before) {
        if let Some(old) = old {
            // SAFETY: the handler's own, live, of that layout.
            unsafe { heap.give(old, layout) };
        }
    }
    SERVED.set(SERVED.get() + taken.iter().flatten().count());
    HELD.set(taken);
}

/// The same where the CPU's cache cannot be entered.
fn handler_on_top_of_an_entry() {
    interrupt(handler);
}

/// A third of the script, and what it ends with: so short that each of its locks can have
/// its fault in an ordinary run of the tests.
fn short_script() -> Vec<Action> {
    let mut short: Vec<_> = script(1).into_iter().step_by(3).collect();
    short.extend([Action::Wait(3000), Action::Migrate(1), Action::Reclaim]);
    short
}

/// The numbers of the locks that have a fault: each multiple of `step`; in Miri,
/// which has time for one or two, not the first lock of all.
fn numbers(locks: usize, step: usize) -> impl Iterator<Item = usize> {
    (unless_miri(0, step / 2)..locks).step_by(step)
}

/// Plays a script with the fault; returns the locks that were about to be
/// taken.
fn play<C: OnCpus>(what: AtLock, script: &[Action]) -> usize {
    let mut model = Model::<C>::on_cpus(Arena::new(4096, Capabilities::all(), 1 << 30));
    let heap = model.heap();
    HEAP.set(Some(heap));
    at_locks(what);
    for &action in script {
        assert!(model.act(action), "{action:?} with {what:?}");
    }
    let locks = at_locks(AtLock::Nothing);
    // Before the heap ends.
    HEAP.set(None);
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

/// Each lock of [`numbers`] is found taken.
fn find_taken<C: OnCpus>(script: &[Action], step: usize) -> usize {
    let locks = play::<C>(AtLock::Nothing, script);
    for number in numbers(locks, step) {
        play::<C>(AtLock::Taken(number), script);
    }
    locks
}

/// An interrupt comes at each of these locks.
fn interrupt_at<C: OnCpus>(script: &[Action], step: usize) {
    let locks = play::<C>(AtLock::Nothing, script);
    for handler in [handler as fn(), handler_on_top_of_an_entry] {
        SERVED.set(0);
        for number in numbers(locks, step) {
            play::<C>(AtLock::Interrupt(number, handler), script);
        }
        // Most are; of the few that Miri plays all may come where nothing is cached.
        let interrupts = locks / step;
        assert!(
            SERVED.get() > interrupts / 2 || cfg!(miri) && interrupts < 20,
            "{} of {interrupts} served",
            SERVED.get()
        );
    }
}

#[test]
fn every_lock_is_found_taken_in_turn() {
    let script = script(ROUNDS);
    let locks = find_taken::<TestConfig>(&script, step());
    assert!(locks > unless_miri(500, 200), "{locks} locks");
    for step in [3, 2, 5].into_iter().take(unless_miri(3, 1)) {
        play::<TestConfig>(AtLock::TakenEach(step), &script);
    }
}

#[test]
fn an_interrupt_at_every_lock_in_turn() {
    interrupt_at::<TestConfig>(&script(ROUNDS), step());
}

#[test]
fn each_lock_of_a_short_script_is_found_taken() {
    let locks = find_taken::<TestConfig>(&short_script(), unless_miri(1, 211));
    assert!(locks > 200, "{locks} locks");
}

#[test]
fn an_interrupt_at_each_lock_of_a_short_script() {
    interrupt_at::<TestConfig>(&short_script(), unless_miri(1, 211));
}

/// Every block is checked, between guards, and rests before it serves again.
struct InFull;

impl Config for InFull {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const TIER: Tier = Tier::Full;
}

#[test]
fn each_lock_of_a_checked_heap_is_found_taken() {
    let locks = find_taken::<InFull>(&short_script(), unless_miri(1, 211));
    assert!(locks > 200, "{locks} locks");
}

#[test]
fn an_interrupt_at_each_lock_of_a_checked_heap() {
    interrupt_at::<InFull>(&short_script(), unless_miri(1, 211));
}
