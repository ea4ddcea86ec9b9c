//! The regions of a heap, over arenas of every kind, against a list of the
//! runs that are out.

use std::alloc::Layout;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::base::bytes::is_all;
use crate::check::arena::{Arena, Call, Refuse};
use crate::check::surroundings::{TestConfig, advance, cases, unless_miri};
use crate::provider::PageProvider;
use crate::region::purge::Urgency;

type TestRegions = Regions<TestConfig>;

/// A run that is out, with what was written to it.
#[derive(Clone, Copy)]
struct Out {
    start: NonNull<u8>,
    pages: u32,
    seed: u8,
}

impl Out {
    #[allow(clippy::mut_from_ref)]
    fn bytes(&self) -> &mut [u8] {
        let len = self.pages as usize * PAGE_SIZE;
        // SAFETY: the run is out, and the test has it alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), len) }
    }

    /// Writes a few bytes of each page.
    fn write(&self) {
        for page in self.bytes().chunks_mut(PAGE_SIZE) {
            (page[0], page[77], page[PAGE_SIZE - 1]) = (self.seed, self.seed, self.seed);
        }
    }

    fn verify(&self, pages: u32) {
        for page in self.bytes().chunks(PAGE_SIZE).take(pages as usize) {
            assert_eq!((page[0], page[77], page[PAGE_SIZE - 1]), (self.seed, self.seed, self.seed));
        }
    }

    fn ends(&self) -> (usize, usize) {
        let start = self.start.addr().get();
        (start, start + (self.pages as usize * PAGE_SIZE - 1))
    }
}

struct Model {
    arena: Arena,
    regions: TestRegions,
    out: Vec<Out>,
    seed: u8,
}

impl Model {
    fn new(arena: Arena) -> Self {
        Self { arena, regions: Regions::new(), out: Vec::new(), seed: 0 }
    }

    fn take(&mut self, pages: u32, align: u32) -> bool {
        let taken = self.regions.take(
            &self.arena,
            Near::Only(Node(0)),
            PageCount(pages),
            align,
            Class::LARGE,
        );
        let Ok(run) = taken else { return false };
        self.seed = self.seed % 250 + 1;
        let new = Out { start: run.start, pages, seed: self.seed };
        let (first, last) = new.ends();
        assert!(first.is_multiple_of(align as usize * PAGE_SIZE), "aligned");
        assert_eq!(run.pages, PageCount(pages));
        for other in &self.out {
            let (from, to) = other.ends();
            assert!(last < from || to < first, "runs overlap");
        }
        if run.zero {
            assert!(is_all(new.bytes(), 0), "said to be zero, and is not");
        }
        new.write();
        self.out.push(new);
        true
    }

    fn give(&mut self, number: usize, contents: Contents) {
        let run = self.out.swap_remove(number);
        run.verify(run.pages);
        if contents == Contents::Zero {
            run.bytes().fill(0);
        }
        self.regions.give(run.start, contents, 0).expect("a used run");
        assert_eq!(self.regions.give(run.start, contents, 0), Err(NotARun), "given twice");
    }

    fn resize(&mut self, number: usize, pages: u32) {
        let run = &mut self.out[number];
        let behind = if pages < run.pages && pages.is_multiple_of(2) {
            run.bytes()[pages as usize * PAGE_SIZE..].fill(0);
            Contents::Zero
        } else {
            Contents::Dirty
        };
        let done = self.regions.resize(&self.arena, run.start, PageCount(pages), behind);
        assert!(done || pages > run.pages, "a run can always shrink");
        run.verify(run.pages.min(pages));
        if done {
            run.pages = pages;
            run.write();
        }
        let (first, last) = self.out[number].ends();
        let apart = self.out.iter().enumerate().all(|(at, other)| {
            let (from, to) = other.ends();
            at == number || last < from || to < first
        });
        assert!(apart, "grown over another run");
    }

    /// The counts add up, every run is found, and nothing else is.
    fn check(&self) {
        let stats = self.regions.stats();
        let pages: usize = self.out.iter().map(|run| run.pages as usize).sum();
        assert_eq!(stats.used, pages * PAGE_SIZE, "used = out");
        assert!(stats.used <= stats.committed && stats.committed <= stats.reserved);
        // What is refused right after it was reserved is lost where there is
        // no release.
        let can = self.arena.capabilities() & (Capabilities::COMMIT | Capabilities::RELEASE);
        let lost = self.arena.reserved() - stats.reserved;
        assert!(lost == 0 || can == Capabilities::COMMIT, "a reservation is lost");
        for run in &self.out {
            run.verify(run.pages);
            let at = self.regions.locate(run.start.as_ptr()).expect("found by its address");
            assert_eq!(at.run(), Some(PageCount(run.pages)));
            assert_eq!(at.class(), Class::LARGE);
            let inner = run.start.as_ptr().wrapping_add(PAGE_SIZE);
            let inside = self.regions.locate(inner).and_then(|at| at.run());
            assert!(run.pages == 1 || inside.is_none(), "a run starts at its first page alone");
        }
        let on_stack = 0u8;
        assert!(self.regions.locate(&raw const on_stack).is_none(), "not ours");
    }

    /// Gives everything back; then nothing must be missing.
    fn finish(mut self) {
        while !self.out.is_empty() {
            self.give(0, Contents::Dirty);
        }
        self.regions.give_back(&self.arena, 0, Urgency::All);
        self.check();
        let stats = self.regions.stats();
        let can = self.arena.capabilities();
        if can.contains(Capabilities::RELEASE) {
            assert!(stats.regions <= 1, "empty regions are released, but for the first");
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    Take { pages: u32, shift: u32 },
    Give { pick: prop::sample::Index, contents: Contents },
    Resize { pick: prop::sample::Index, pages: u32 },
    GiveBack { urgency: Urgency, later: u32 },
    Refuse(Refuse),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let pages = || prop_oneof![4 => 1..8u32, 2 => 8..70u32, 1 => 70..400u32];
    let pick = || any::<prop::sample::Index>();
    // Not `Purged`: that a run's memory is gone only its taker knows.
    let contents = prop_oneof![3 => Just(Contents::Dirty), 1 => Just(Contents::Zero)];
    let urgency = prop_oneof![Just(Urgency::Idle), Just(Urgency::All)];
    let refuse = prop_oneof![
        3 => Just(Refuse::Nothing), 1 => Just(Refuse::Commit), 1 => Just(Refuse::CommitOverPage),
        1 => Just(Refuse::Purge), 1 => Just(Refuse::Release)
    ];
    let action = prop_oneof![
        9 => (pages(), prop_oneof![3 => Just(0), 2 => 0..8u32])
            .prop_map(|(pages, shift)| Action::Take { pages, shift }),
        7 => (pick(), contents).prop_map(|(pick, contents)| Action::Give { pick, contents }),
        4 => (pick(), pages()).prop_map(|(pick, pages)| Action::Resize { pick, pages }),
        1 => (urgency, 0..6000u32)
            .prop_map(|(urgency, later)| Action::GiveBack { urgency, later }),
        1 => refuse.prop_map(Action::Refuse),
    ];
    prop::collection::vec(action, 1..unless_miri(60, 20))
}

fn arenas() -> impl Strategy<Value = (usize, Capabilities, usize)> {
    let page = prop_oneof![Just(4096usize), Just(16 << 10), Just(64 << 10)];
    let can = any::<u32>().prop_map(Capabilities::from_bits_truncate);
    let limit = prop_oneof![Just(2usize << 20), Just(8 << 20), Just(32 << 20)];
    (page, can, limit)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn runs_are_apart_and_nothing_is_lost(
        (page, can, limit) in arenas(),
        actions in actions(),
    ) {
        let mut model = Model::new(Arena::new(page, can, limit));
        for action in actions {
            let out = model.out.len();
            match action {
                Action::Take { pages, shift } => {
                    model.take(pages, 1 << shift);
                }
                Action::Refuse(refuse) => model.arena.refuse(refuse),
                Action::GiveBack { urgency, later } => {
                    advance(later);
                    let now = <TestConfig as Config>::Env::now_ms();
                    model.regions.give_back(&model.arena, now, urgency);
                }
                _ if out == 0 => {}
                Action::Give { pick, contents } => model.give(pick.index(out), contents),
                Action::Resize { pick, pages } => model.resize(pick.index(out), pages),
            }
            model.check();
        }
        model.arena.refuse(Refuse::Nothing);
        model.finish();
    }
}

fn host_memory(bytes: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(bytes, PAGE_SIZE).expect("a layout");
    // SAFETY: not empty.
    NonNull::new(unsafe { std::alloc::alloc(layout) }).expect("memory")
}

#[test]
fn regions_of_the_user_start_anywhere_and_never_go_back() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), 1 << 20));
    let memory = host_memory(40 * PAGE_SIZE);
    // SAFETY: the memory is never given back; it is not whole pages.
    unsafe {
        memory.write_bytes(0xee, 40 * PAGE_SIZE);
        let odd = memory.add(1234);
        model.regions.add(&model.arena, odd, 38 * PAGE_SIZE).expect("room");
    }
    assert!(model.take(30, 1), "in the user's memory");
    assert_eq!(model.arena.reserved(), 0);
    assert!(model.take(30, 1), "in the provider's");
    assert!(model.arena.reserved() > 0);
    model.give(1, Contents::Dirty);
    model.give(0, Contents::Dirty);
    model.regions.give_back(&model.arena, 0, Urgency::All);
    assert_eq!((model.arena.reserved(), model.regions.stats().regions), (0, 1));
    assert!(model.arena.purged() >= 30 * PAGE_SIZE && model.take(30, 1), "still there");
}

/// Memory that cannot be committed must not make a heap reserve without end.
#[test]
fn growth_stops_when_commit_is_refused() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
    assert!(model.take(10, 1));
    // Of every region the head can be committed, and nothing else.
    model.arena.refuse(Refuse::CommitOverPage);
    for _ in 0..5 {
        assert!(!model.take(1000, 1));
        assert_eq!((model.arena.reserves(), model.regions.stats().regions), (2, 2));
    }
    model.check();
    model.arena.refuse(Refuse::Nothing);
    assert!(model.take(1000, 1));
    model.check();
    model.finish();
}

/// Growth is under locks, where nothing is purged, whichever of its calls is refused.
#[test]
fn nothing_is_purged_where_growth_is_refused() {
    for call in 0..12 {
        let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
        assert!(model.take(10, 1));
        model.arena.refuse(Refuse::FromCall(call));
        let _ = model.take(1000, 1);
        let _ = model.take(5000, 1);
        assert_eq!(model.arena.not_called(&[Call::Purge]), [Call::Purge], "call {call}");
        model.arena.refuse(Refuse::Nothing);
        assert!(model.take(5000, 1));
    }
}

/// An alignment that no region can have room for.
#[test]
fn what_no_region_holds_is_refused_without_growth() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), 64 << 20));
    for (pages, align) in [(1, 1 << 31), (1, 1 << 30), ((1 << 30) - 1, 2), (1 << 29, 1 << 30)] {
        assert!(!model.take(pages, align));
        assert_eq!(model.arena.asked(), 0, "not even tried");
    }
}

/// A region that the provider does not take back is still a region.
#[test]
fn a_refused_release_loses_nothing() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
    assert!(model.take(100, 1) && model.take(1000, 1) && model.take(2000, 1));
    (0..3).for_each(|_| model.give(0, Contents::Dirty));
    model.arena.refuse(Refuse::Release);
    model.regions.give_back(&model.arena, 0, Urgency::All);
    assert_eq!(model.regions.stats().reserved, model.arena.reserved());
    assert_eq!(model.regions.stats().regions, 3);
    model.arena.refuse(Refuse::Nothing);
    assert!(model.take(2000, 1), "usable as before");
    model.check();
    model.finish();
}

/// What lies idle long enough goes back, and not before.
#[test]
fn idle_memory_goes_back_after_its_delay() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
    let (purge, release) = (TestConfig::LIMITS.purge_delay_ms, TestConfig::LIMITS.release_delay_ms);
    assert!(model.take(100, 1) && model.take(1000, 1));
    model.give(1, Contents::Dirty);
    let at = |now| model.regions.give_back(&model.arena, now, Urgency::Idle);
    assert_eq!(at(purge - 1), 0);
    assert_eq!(at(purge), 1000 * PAGE_SIZE);
    assert_eq!(at(purge), 0, "once");
    assert_eq!(at(release - 1), 0);
    assert!(at(purge + release) > 1000 * PAGE_SIZE);
    model.check();
    assert_eq!(model.regions.stats().regions, 1);
}

/// Short runs rest the longer the shorter they are, and the shortest stay.
#[test]
fn short_runs_go_back_later() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
    let (delay, least) = (TestConfig::LIMITS.purge_delay_ms, TestConfig::LIMITS.purge_min_pages);
    for pages in [least / 4, 1, least / 2, 1, least / 4 - 1, 1, least, 1] {
        assert!(model.take(pages, 1));
    }
    [6, 4, 2, 0].into_iter().for_each(|number| model.give(number, Contents::Dirty));
    let at = |now| model.regions.give_back(&model.arena, now, Urgency::Idle) / PAGE_SIZE;
    let least = least as usize;
    assert_eq!([at(delay - 1), at(delay)], [0, least]);
    assert_eq!([at(2 * delay - 1), at(2 * delay)], [0, least / 2]);
    assert_eq!([at(4 * delay - 1), at(4 * delay)], [0, least / 4]);
    assert_eq!(at(TestConfig::LIMITS.release_delay_ms - 1), 0);
    model.check();
}

/// A thread that has read the clock before another one gave memory back, and
/// goes on after.
#[test]
fn a_clock_read_early_ends_no_delay() {
    let mut model = Model::new(Arena::new(4096, Capabilities::all(), usize::MAX));
    assert!(model.take(100, 1) && model.take(1000, 1));
    let run = model.out.swap_remove(1);
    model.regions.give(run.start, Contents::Dirty, 1000).expect("a used run");
    assert_eq!(model.regions.give_back(&model.arena, 999, Urgency::Idle), 0, "still hot");
    assert!(model.regions.tick_is_due(1000, 50) && !model.regions.tick_is_due(999, 50));
    model.check();
}

/// Threads that take, resize and give while others purge and release: nobody
/// may see a run of another's, or lose what is in its own.
#[test]
fn threads_share_regions_and_nothing_else() {
    const THREADS: u64 = 4;
    // Not so many regions that the directory needs a page.
    let arena = Arena::new(4096, Capabilities::all(), 1 << 30)
        .in_steps_of(unless_miri(1_000_000, 4_000_000));
    let regions = TestRegions::new();
    let work = &|thread: u64| {
        let mut state = thread + 1;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % below) as u32
        };
        let mut out: Vec<Out> = Vec::new();
        for step in 0..unless_miri(1500, 24) as u32 {
            let pages = 1 + random(if step % 16 == 0 { 300 } else { 20 });
            match random(if out.len() > 20 { 9 } else { 7 }) {
                0 => drop(regions.give_back(&arena, step, Urgency::All)),
                1 | 2 if !out.is_empty() => {
                    let number = random(out.len() as u64) as usize;
                    let run = &mut out[number];
                    if regions.resize(&arena, run.start, PageCount(pages), Contents::Dirty) {
                        // What was cut off is somebody else's already.
                        run.pages = run.pages.min(pages);
                        run.verify(run.pages);
                        run.pages = pages;
                        run.write();
                    }
                    run.verify(run.pages);
                }
                3..=6 => {
                    let align = 1 << random(5);
                    let taken = regions.take(
                        &arena,
                        Near::Only(Node(0)),
                        PageCount(pages),
                        align,
                        Class::LARGE,
                    );
                    let run = taken.expect("memory");
                    let seed = (thread as u8) << 6 | random(60) as u8;
                    let new = Out { start: run.start, pages, seed };
                    assert!(!run.zero || is_all(new.bytes(), 0), "said to be zero, and is not");
                    new.write();
                    out.push(new);
                }
                _ if out.is_empty() => {}
                _ => {
                    let run = out.swap_remove(random(out.len() as u64) as usize);
                    run.verify(run.pages);
                    regions.give(run.start, Contents::Dirty, step).expect("a used run");
                }
            }
        }
        for run in out {
            run.verify(run.pages);
            regions.give(run.start, Contents::Dirty, 0).expect("a used run");
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|thread| drop(scope.spawn(move || work(thread))));
    });
    assert_eq!(regions.stats().used, 0);
    regions.give_back(&arena, 0, Urgency::All);
    assert_eq!((regions.stats().reserved, regions.stats().regions), (arena.reserved(), 1));
}
