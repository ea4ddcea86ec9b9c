//! Whole heaps over arenas of every kind against a list of live blocks; and
//! the same programs with every call of the provider refused in turn.

use std::alloc::Layout;
use std::boxed::Box;
use std::vec::Vec;

use core::ptr::NonNull;
use proptest::prelude::*;

use super::Heap;
use super::local::LocalConfig;
use crate::base::bytes::is_all;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::origin::Caller;
use crate::cache::alone::Alone;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Call, Refuse};
use crate::check::surroundings::{
    TestConfig, TestCpu, TestEnv, advance, cases, for_ever, interrupt, migrate, unless_miri,
};
use crate::provider::Capabilities;

/// Bytes at both ends of a block that are all written and read.
const EDGE: usize = unless_miri(64, 6);

/// In between one byte in so many: of each page, in Miri of some.
const STRIDE: usize = unless_miri(4093, 32_003);

/// A live block. Without a layout it is one of C's.
#[derive(Clone, Copy, Debug)]
struct Block {
    start: NonNull<u8>,
    size: usize,
    layout: Option<Layout>,
    seed: u8,
}

impl Block {
    /// Offsets that are written and read.
    fn marks(&self) -> impl Iterator<Item = usize> + use<> {
        let size = self.size;
        let edge = size.min(EDGE);
        let middle = (edge..size - edge.min(size - edge)).step_by(STRIDE);
        (0..edge).chain(middle).chain((size - edge).max(edge)..size)
    }

    fn fill(&self) {
        // SAFETY: the block is live and that large.
        self.marks().for_each(|at| unsafe { self.start.add(at).write(self.seed ^ at as u8) });
    }

    fn verify(&self, size: usize) {
        for at in self.marks().take_while(|at| *at < size) {
            // SAFETY: the block is live and that large.
            assert_eq!(unsafe { self.start.add(at).read() }, self.seed ^ at as u8, "at {at}");
        }
    }

    fn ends(&self) -> (usize, usize) {
        let start = self.start.addr().get();
        (start, start + self.size.max(1) - 1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Alloc { layout: Layout, zero: bool },
    AllocForC { size: usize, zero: bool },
    Free { pick: usize, unsized_: bool },
    Realloc { pick: usize, size: usize },
    ReallocNewest { size: usize },
    Reclaim,
    Wait(u32),
    Migrate(usize),
}

struct Model<C: Config<Pages = Arena>> {
    /// Out of a box, which [`finish`](Self::finish) makes of it again.
    owner: NonNull<Heap<C>>,
    blocks: Vec<Block>,
    seed: u8,
    /// Whether commit and release may be refused one after the other: what was
    /// just reserved cannot be kept then, nor given back.
    lossy: bool,
}

impl Model<TestConfig> {
    /// Of CPUs with caches.
    fn new(arena: Arena) -> Self {
        Self::on_cpus(arena)
    }
}

/// A heap's configuration like [`TestConfig`], of any tier.
trait OnCpus: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>> {}

impl<C: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>>> OnCpus for C {}

impl<C: OnCpus> Model<C> {
    fn on_cpus(arena: Arena) -> Self {
        migrate(0);
        Self::with(arena, Guarded::new())
    }
}

impl Model<LocalConfig<Arena, TestEnv>> {
    /// Of one thread: without an atomic update.
    fn alone(arena: Arena) -> Self {
        // SAFETY: a model is one thread's.
        Self::with(arena, unsafe { Alone::new() })
    }
}

impl<C: Config<Pages = Arena>> Model<C> {
    fn with(arena: Arena, front: C::Front) -> Self {
        let owner = NonNull::from(for_ever(Heap::new(arena, front)));
        Self { owner, blocks: Vec::new(), seed: 0, lossy: false }
    }

    fn heap(&self) -> &'static Heap<C> {
        // SAFETY: lives until `finish`, which nothing comes after.
        unsafe { self.owner.as_ref() }
    }

    fn enter(&mut self, start: *mut u8, size: usize, layout: Option<Layout>) -> bool {
        let Some(start) = NonNull::new(start) else { return false };
        self.seed = self.seed.wrapping_add(59);
        let new = Block { start, size, layout, seed: self.seed };
        let align = layout.map_or(if size > 8 { 16 } else { 8 }, |layout| layout.align());
        let (first, last) = new.ends();
        assert!(first.is_multiple_of(align), "{new:?} is not aligned");
        assert!(self.heap().usable_size(start) >= Some(size.max(1)), "{new:?} is too small");
        for other in &self.blocks {
            let (from, to) = other.ends();
            assert!(last < from || to < first, "{new:?} overlaps {other:?}");
        }
        new.fill();
        self.blocks.push(new);
        true
    }

    fn alloc(&mut self, size: usize, layout: Option<Layout>, zero: bool) -> bool {
        let class = Class::for_malloc(size);
        let heap = self.heap();
        let start = match (layout, zero) {
            (Some(layout), false) => heap.alloc(layout),
            (Some(layout), true) => heap.alloc_zeroed(layout),
            (None, false) => heap.alloc_class(class, size, Caller::UNKNOWN),
            (None, true) => heap.alloc_class_zeroed(class, size, Caller::UNKNOWN),
        };
        if zero && !start.is_null() {
            // SAFETY: the block is live and that large.
            let bytes = unsafe { core::slice::from_raw_parts(start, size) };
            assert!(is_all(bytes, 0), "{size} bytes are not zero");
        }
        self.enter(start, size, layout)
    }

    fn free(&mut self, pick: usize, unsized_: bool) {
        let block = self.blocks.swap_remove(pick);
        block.verify(block.size);
        // SAFETY: live, and forgotten; of that layout.
        unsafe {
            match block.layout.filter(|_| !unsized_) {
                Some(layout) => self.heap().dealloc(block.start, layout),
                None => self.heap().free(block.start),
            }
        }
    }

    fn realloc(&mut self, pick: usize, size: usize) -> bool {
        let block = self.blocks[pick];
        block.verify(block.size);
        // SAFETY: live; of that layout.
        let moved = unsafe {
            match block.layout {
                Some(layout) => self.heap().realloc(block.start, layout, size),
                None => self.heap().realloc_unsized(block.start, size, Caller::UNKNOWN),
            }
        };
        let Some(start) = NonNull::new(moved) else {
            block.verify(block.size);
            return false;
        };
        self.blocks.swap_remove(pick);
        Block { start, ..block }.verify(size);
        let layout = block
            .layout
            .map(|layout| Layout::from_size_align(size, layout.align()).expect("a layout"));
        self.enter(moved, size, layout)
    }

    /// Whether there was memory.
    fn act(&mut self, action: Action) -> bool {
        let pick = |pick: usize| pick.checked_rem(self.blocks.len());
        match action {
            Action::Alloc { layout, zero } => self.alloc(layout.size(), Some(layout), zero),
            Action::AllocForC { size, zero } => self.alloc(size, None, zero),
            Action::Free { pick: number, unsized_ } => {
                if let Some(number) = pick(number) {
                    self.free(number, unsized_);
                }
                true
            }
            Action::Realloc { pick: number, size } => {
                pick(number).is_none_or(|number| self.realloc(number, size))
            }
            Action::ReallocNewest { size } => {
                self.blocks.len().checked_sub(1).is_none_or(|newest| self.realloc(newest, size))
            }
            Action::Reclaim => {
                self.heap().reclaim();
                true
            }
            Action::Wait(ms) => {
                advance(ms);
                true
            }
            Action::Migrate(cpu) => {
                migrate(cpu);
                true
            }
        }
    }

    /// live + free + cached + parked = capacity, and no reservation is lost.
    fn check(&self) {
        let stats = self.heap().stats();
        let usable = |block: &Block| self.heap().usable_size(block.start).expect("a live block");
        let live: usize = self.blocks.iter().map(usable).sum();
        // What stands around checked blocks counts as theirs.
        let around = stats.live_bytes().checked_sub(live);
        let whole = if C::TIER.checks_calls() { around.is_some() } else { around == Some(0) };
        assert!(whole, "{live} bytes are live: {stats:?}");
        assert!(stats.slab_free_bytes + stats.cached_bytes <= stats.slab_bytes, "{stats:?}");
        let reserved = self.heap().provider().reserved();
        assert!(stats.reserved == reserved || self.lossy, "a reservation is lost: {stats:?}");
    }

    fn finish(mut self) {
        self.heap().provider().refuse(Refuse::Nothing);
        while !self.blocks.is_empty() {
            self.free(0, self.blocks.len().is_multiple_of(2));
        }
        // In Miri, where a walk takes seconds, only what is left is walked over.
        if !cfg!(miri) {
            self.heap().check().expect("a whole heap");
        }
        self.heap().reclaim();
        self.check();
        self.heap().check().expect("a whole heap");
        let stats = self.heap().stats();
        assert_eq!((stats.slabs, stats.cached_bytes, stats.parked_bytes), (0, 0, 0), "{stats:?}");
        // SAFETY: out of a box, and kept; slots live as long as their heap, which
        // nobody uses any more.
        drop(unsafe { Box::from_raw(self.owner.as_ptr()) });
    }
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..200usize,
        3 => 0..5000usize,
        2 => 0..100_000usize,
        1 => 0..(3usize << 20),
        2 => (3u32..21, 0..3usize).prop_map(|(shift, side)| (1 << shift) + side - 1),
    ]
}

fn actions(len: usize) -> impl Strategy<Value = Vec<(bool, Action)>> {
    let shift = prop_oneof![6 => 0..5u32, 3 => 5..13u32, 1 => 13..23u32];
    let layout = (sizes(), shift)
        .prop_map(|(size, shift)| Layout::from_size_align(size, 1 << shift).expect("a layout"));
    let pick = || any::<usize>();
    let action = prop_oneof![
        8 => (layout, any::<bool>()).prop_map(|(layout, zero)| Action::Alloc { layout, zero }),
        4 => (sizes(), any::<bool>()).prop_map(|(size, zero)| Action::AllocForC { size, zero }),
        8 => (pick(), any::<bool>()).prop_map(|(pick, unsized_)| Action::Free { pick, unsized_ }),
        6 => (pick(), sizes()).prop_map(|(pick, size)| Action::Realloc { pick, size }),
        1 => Just(Action::Reclaim),
        2 => (1..6000u32).prop_map(Action::Wait),
        // The third has no cache.
        2 => (0..3usize).prop_map(Action::Migrate),
    ];
    let interrupted = prop::bool::weighted(0.1);
    prop::collection::vec((interrupted, action), 1..len)
}

/// Every kind of provider whose reservations cannot be lost.
fn arenas() -> impl Strategy<Value = (usize, Capabilities)> {
    let page = prop_oneof![2 => Just(4096usize), 1 => Just(16 << 10), 1 => Just(64 << 10)];
    let can = any::<u32>().prop_map(|bits| {
        let can = Capabilities::from_bits_truncate(bits);
        let lost = can.contains(Capabilities::COMMIT);
        if lost { can | Capabilities::RELEASE } else { can }
    });
    (page, can)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn blocks_are_apart_and_nothing_is_lost(
        (page, can) in arenas(),
        actions in actions(unless_miri(120, 12)),
    ) {
        let mut model = Model::new(Arena::new(page, can, 2 << 30));
        for (interrupted, action) in actions {
            let mut act = || model.act(action);
            prop_assert!(if interrupted { interrupt(act) } else { act() }, "{:?}", action);
            model.check();
        }
        model.finish();
    }

    #[test]
    fn a_heap_of_one_thread_does_the_same(
        (page, can) in arenas(),
        actions in actions(unless_miri(120, 12)),
        pages in prop_oneof![Just(1usize << 19), 8..1000usize],
    ) {
        let mut model = Model::alone(Arena::new(page, can, pages * page));
        for (_, action) in actions {
            let done = model.act(action);
            prop_assert!(done || pages < 1000, "{:?}", action);
            model.check();
        }
        model.finish();
    }

    /// In little memory, of which calls are refused, too.
    #[test]
    fn a_shortage_changes_nothing_and_passes(
        (page, can) in arenas(),
        actions in actions(unless_miri(80, 12)),
        pages in 8..1000usize,
        refuse in prop_oneof![
            Just(Refuse::Nothing), Just(Refuse::Commit), Just(Refuse::CommitOverPage),
            Just(Refuse::Release), Just(Refuse::Purge), (0..40usize).prop_map(Refuse::Call),
            (0..40usize).prop_map(Refuse::FromCall)
        ],
        from in any::<prop::sample::Index>(),
    ) {
        let mut model = Model::new(Arena::new(page, can, pages * page));
        let from = from.index(actions.len());
        for (number, &(interrupted, action)) in actions.iter().enumerate() {
            if number == from {
                model.lossy = matches!(refuse, Refuse::FromCall(_));
                model.heap().provider().refuse(refuse);
            }
            let mut act = || model.act(action);
            if interrupted { interrupt(act) } else { act() };
            model.check();
        }
        model.finish();
    }
}

/// Rounds of it.
const ROUNDS: usize = unless_miri(2, 1);

/// Bytes of its large blocks: enough to be moved by the provider.
const LARGE: usize = unless_miri(2 << 20, 512 << 10);

/// Blocks of the script, twice of each of its sizes at least.
const BLOCKS: usize = unless_miri(42, 12);

/// Does something of every kind.
fn script(rounds: usize) -> Vec<Action> {
    let layout = |size, align| Layout::from_size_align(size, align).expect("a layout");
    let mut script = Vec::new();
    for round in 0..rounds {
        for number in 0..BLOCKS {
            let size = [24, 700, 9000, 50_000, 100, 200_000][number % 6] + round;
            script.push(Action::Alloc {
                layout: layout(size, 8 << (number % 4)),
                zero: number % 5 == 0,
            });
        }
        for size in [3 * LARGE / 2, LARGE / 2] {
            script.push(Action::Alloc { layout: layout(LARGE, 64 << 10), zero: true });
            script.push(Action::ReallocNewest { size });
        }
        script.extend(
            (0..BLOCKS - 4)
                .map(|number| Action::Free { pick: number * 7, unsized_: number % 2 == 0 }),
        );
        script.extend([Action::Wait(3000), Action::Migrate(round % 3), Action::Reclaim]);
    }
    script
}

/// Plays the script while calls are refused, then without. Returns how many
/// calls may be refused.
fn play(page: usize, can: Capabilities, refuse: Refuse) -> usize {
    let mut model = Model::new(Arena::new(page, can, 1 << 30));
    model.heap().provider().refuse(refuse);
    model.lossy = matches!(refuse, Refuse::FromCall(_));
    for action in script(ROUNDS) {
        model.act(action);
    }
    let provider = model.heap().provider();
    let calls = provider.calls();
    if refuse == Refuse::Nothing {
        use Call::{Commit, Purge, Release, Remap, Reserve};
        let commits = can.contains(Capabilities::COMMIT);
        let all = [Reserve, Purge, Release, Remap, Commit];
        assert_eq!(provider.not_called(&all[..4 + usize::from(commits)]), []);
        if cfg!(miri) {
            model.finish();
            return calls;
        }
    }
    model.check();
    model.heap().check().expect("a whole heap");
    model.heap().provider().refuse(Refuse::Nothing);
    for action in script(1) {
        assert!(model.act(action), "{action:?} after {refuse:?}");
    }
    model.finish();
    calls
}

#[test]
fn every_call_refused_in_turn_alone_and_for_good() {
    let all = Capabilities::all();
    for (page, can) in [(4096, all), (64 << 10, all - Capabilities::COMMIT)] {
        let calls = play(page, can, Refuse::Nothing);
        assert!(calls > 10, "{calls} calls");
        if cfg!(miri) {
            // One of each, half way.
            for refuse in [Refuse::Call(calls / 2), Refuse::FromCall(calls / 2)] {
                let calls_then = play(page, can, refuse);
                assert!(calls_then > calls / 2, "{calls_then} calls with {refuse:?}");
            }
            continue;
        }
        let mut number = 0;
        while play(page, can, Refuse::Call(number)) > number {
            number += 1;
        }
        assert!(number >= calls / 2, "{number} of {calls}");
        for first in (0..calls).step_by(7) {
            play(page, can, Refuse::FromCall(first));
        }
    }
}

#[path = "lock_faults_tests.rs"]
mod lock_faults;
