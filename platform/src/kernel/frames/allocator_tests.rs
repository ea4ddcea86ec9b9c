//! Whole allocators against a plain table of frames, and every refusal.

extern crate std;

use std::vec::Vec;

use granule_core::provider::Node;
use proptest::prelude::*;

use super::machine::{FOUR_G, Window};
use super::*;
use crate::HostEnv;

const BANKS: usize = 8;
type TestFrames = Frames<HostEnv, BANKS>;

const MIB: u64 = 1 << 20;
/// Half of the window is below 4 GiB.
const WINDOW: u64 = 16 * MIB;

fn window() -> Window {
    Window::new(FOUR_G - WINDOW / 2, WINDOW as usize)
}

/// An allocator over this map.
fn frames(window: &Window, map: &[MemoryRange], size: usize) -> Result<TestFrames, MapError> {
    let frames = TestFrames::new();
    // SAFETY: the window is the test's, whose allocators come one by one.
    unsafe { frames.init(map, size, window.direct()) }.map(|()| frames)
}

fn free(frames: &TestFrames, run: FrameRun) -> Result<(), FrameError> {
    // SAFETY: nobody accesses the frames.
    unsafe { frames.free(run) }
}

/// A bank as it should be.
struct Shadow {
    start: u64,
    size: u64,
    flags: FrameFlags,
    free: Vec<bool>,
}

impl Shadow {
    fn runs(&self) -> impl Iterator<Item = usize> {
        self.free.split(|free| !free).map(<[bool]>::len)
    }

    /// First fit, by definition.
    fn fit(&self, frames: usize, align: u64) -> Option<usize> {
        (0..(self.free.len() + 1).saturating_sub(frames)).find(|&at| {
            (self.start + at as u64 * self.size).is_multiple_of(align)
                && self.free[at..at + frames].iter().all(|&free| free)
        })
    }
}

struct Model {
    frames: TestFrames,
    banks: Vec<Shadow>,
    runs: Vec<FrameRun>,
}

impl Model {
    fn new(frames: TestFrames) -> Self {
        let banks = frames.banks().map(|bank| Shadow {
            start: bank.start.get(),
            size: bank.frame_size as u64,
            flags: bank.flags,
            free: std::vec![true; bank.frames],
        });
        let banks = banks.collect();
        Self { frames, banks, runs: Vec::new() }
    }

    fn mark(&mut self, run: FrameRun, free: bool) {
        let start = run.start.get();
        let bank = self.banks.iter_mut().find(|bank| {
            (bank.start..bank.start + bank.free.len() as u64 * bank.size).contains(&start)
        });
        let bank = bank.expect("a run is in a bank");
        let at = ((start - bank.start) / bank.size) as usize;
        let marks = &mut bank.free[at..at + run.frames];
        assert!(marks.iter().all(|&mark| mark != free), "{run:?}");
        marks.fill(free);
    }

    fn alloc(&mut self, request: Request) {
        let mut order: Vec<&Shadow> =
            self.banks.iter().filter(|bank| request.accepts(bank.flags, Node(0))).collect();
        order.sort_by_key(|bank| (bank.flags.bits(), bank.start));
        let place = order.iter().find_map(|bank| {
            let at = bank.fit(request.frames, request.align)?;
            Some(bank.start + at as u64 * bank.size)
        });
        let seen = self.frames.alloc_with(request);
        assert_eq!(seen.ok().map(|run| run.start.get()), place, "{request:?}");
        match seen {
            Ok(run) => {
                self.mark(run, false);
                self.runs.push(run);
            }
            Err(error) => assert_eq!(error, FrameError::OutOfFrames),
        }
    }

    fn free(&mut self, number: usize) {
        if !self.runs.is_empty() {
            let run = self.runs.swap_remove(number % self.runs.len());
            free(&self.frames, run).expect("a run of ours");
            assert_eq!(free(&self.frames, run), Err(FrameError::NotTaken(run.start)));
            self.mark(run, true);
        }
    }

    /// Gives a run's second half back, and asks for both halves again.
    fn split(&mut self, number: usize) {
        let Some(index) = number.checked_rem(self.runs.len()) else { return };
        let run = self.runs[index];
        let keep = run.frames / 2;
        let size = self.banks[0].size;
        let start = PhysAddr::new(run.start.get() + keep as u64 * size);
        let rest = FrameRun { start, frames: run.frames - keep };
        free(&self.frames, rest).expect("half of a run");
        self.mark(rest, true);
        if keep == 0 {
            let _ = self.runs.swap_remove(index);
        } else {
            self.runs[index].frames = keep;
            // One half is free: the run as a whole is refused.
            assert_eq!(free(&self.frames, run), Err(FrameError::NotTaken(run.start)));
        }
    }

    fn reserve(&mut self, start: u64, bytes: u64) {
        let size = self.banks[0].size;
        let first = start / size * size;
        let frames = ((start + bytes).div_ceil(size) - start / size) as usize;
        let bank = self
            .banks
            .iter()
            .find(|bank| (bank.start..bank.start + bank.free.len() as u64 * size).contains(&first));
        let at = PhysAddr::new(first);
        let expected = match bank {
            None => Err(FrameError::NotOurs(at)),
            Some(bank) => {
                let from = ((first - bank.start) / size) as usize;
                match bank.free.get(from..from + frames) {
                    None => Err(FrameError::LeavesBank(at)),
                    Some(marks) if marks.contains(&false) => Err(FrameError::NotFree(at)),
                    Some(_) => Ok(FrameRun { start: at, frames }),
                }
            }
        };
        let seen = self.frames.reserve_range(PhysAddr::new(start), bytes);
        assert_eq!(seen, expected, "{start:#x} {bytes:#x}");
        if let Ok(run) = seen {
            self.mark(run, false);
            self.runs.push(run);
        }
    }

    /// Counts are exact, and free neighbours are one run.
    fn check(&self) {
        for (bank, stats) in self.banks.iter().zip(self.frames.banks()) {
            assert_eq!(stats.free, bank.runs().sum::<usize>());
            assert_eq!(stats.longest, bank.runs().max().unwrap_or(0));
        }
        let taken: usize = self.runs.iter().map(|run| run.frames).sum();
        let stats = self.frames.stats();
        assert_eq!(stats.frames - stats.free, taken);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { frames: usize, align: u32, wants: FrameFlags, avoids: FrameFlags },
    Free(usize),
    Split(usize),
    Reserve(u64, u64),
}

fn flags() -> impl Strategy<Value = FrameFlags> {
    prop_oneof![
        6 => Just(FrameFlags::empty()),
        2 => Just(FrameFlags::DMA),
        2 => Just(FrameFlags::BELOW_4G),
        1 => Just(FrameFlags::SLOW),
        1 => Just(FrameFlags::NO_ATOMICS),
        1 => Just(FrameFlags::DMA | FrameFlags::BELOW_4G),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let frames = prop_oneof![4 => 1..4usize, 3 => 1..70usize, 1 => 1..1200usize];
    prop_oneof![
        6 => (frames, 0..24u32, flags(), flags()).prop_map(|(frames, align, wants, avoids)| {
            Step::Alloc { frames, align, wants, avoids }
        }),
        3 => any::<usize>().prop_map(Step::Free),
        1 => any::<usize>().prop_map(Step::Split),
        2 => (0..WINDOW, prop_oneof![1..10_000u64, 1..MIB]).prop_map(|(at, bytes)| Step::Reserve(at, bytes)),
    ]
}

/// Up to five ranges of the window, in any order, and as many holes.
fn map() -> impl Strategy<Value = Vec<(u64, u64, Option<FrameFlags>)>> {
    let unit = || prop_oneof![4 => Just(64u64 << 10), 1 => Just(4096u64), 1 => Just(1000u64)];
    let entry = (0..3u64, 1..80u64, unit(), flags());
    let hole = (0..WINDOW, 1..300_000u64);
    let parts = (prop::collection::vec(entry, 1..5), prop::collection::vec(hole, 0..5));
    parts.prop_flat_map(|(entries, holes)| {
        let (mut at, mut map) = (0, Vec::new());
        for (gap, length, unit, flags) in entries {
            let start = at + gap * unit;
            let end = (start + length * unit).min(WINDOW);
            if start < end {
                map.push((start, end - start, Some(flags)));
            }
            at = end.max(at);
        }
        map.extend(holes.into_iter().map(|(from, bytes)| (from, bytes, None)));
        Just(map).prop_shuffle()
    })
}

fn run(map: &[(u64, u64, Option<FrameFlags>)], size: usize, steps: &[Step]) {
    let window = window();
    let map = map.iter().map(|&(at, bytes, flags)| match flags {
        Some(flags) => MemoryRange::usable(window.at(at), bytes).with_flags(flags),
        None => MemoryRange::reserved(window.at(at), bytes),
    });
    let map: Vec<MemoryRange> = map.collect();
    let frames = match frames(&window, &map, size) {
        Ok(frames) => frames,
        Err(MapError::NothingUsable | MapError::TooManyBanks(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let mut model = Model::new(frames);
    for step in steps {
        match *step {
            Step::Alloc { frames, align, wants, avoids } => {
                let request = Request::new(frames).aligned_to(1 << align);
                model.alloc(request.wanting(wants).avoiding(avoids));
            }
            Step::Free(number) => model.free(number),
            Step::Split(number) => model.split(number),
            Step::Reserve(at, bytes) => model.reserve(window.at(at).get(), bytes),
        }
        model.check();
    }
    while !model.runs.is_empty() {
        model.free(0);
    }
    model.check();
    let stats = model.frames.stats();
    assert_eq!((stats.free, stats.longest > 0), (stats.frames, true));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_allocator_does_as_its_model(
        map in map(),
        shift in prop_oneof![Just(12u32), Just(14u32), Just(16u32)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(&map, 1 << shift, &steps);
    }
}

/// One bank below 4 GiB and one above, of 4 MiB each.
fn two_banks(window: &Window) -> TestFrames {
    let half = WINDOW / 2;
    let map = [
        MemoryRange::usable(window.at(half - 4 * MIB), 4 * MIB),
        MemoryRange::usable(window.at(half), 4 * MIB),
    ];
    frames(window, &map, 4096).expect("a sound map")
}

#[test]
fn every_bad_map_is_refused_by_name_and_nothing_remains() {
    let window = window();
    let usable = |at: u64, bytes: u64| MemoryRange::usable(window.at(at), bytes);
    let reserved = |at: u64, bytes: u64| MemoryRange::reserved(window.at(at), bytes);
    let good = usable(0, MIB);
    let top = MemoryRange::usable(PhysAddr::new(u64::MAX - 0xffff), 0x1_0001);
    let large = MemoryRange::usable(PhysAddr::new(FOUR_G), 1 << 60);
    let comb: Vec<_> = (0..=BANKS as u64).map(|tooth| usable(tooth * MIB, 0x4000)).collect();
    let direct = window.direct();
    let inits: [(&[MemoryRange], usize, DirectMap, MapError); 13] = [
        (&[good], 2048, direct, MapError::FrameSize(2048)),
        (&[good], 12288, direct, MapError::FrameSize(12288)),
        (&[good], 1 << 31, direct, MapError::FrameSize(1 << 31)),
        (&[good], 4096, DirectMap::with_offset(2048), MapError::MapOffset(2048)),
        (&[usable(5, 0)], 4096, direct, MapError::Empty(usable(5, 0))),
        (&[good, reserved(5, 0)], 4096, direct, MapError::Empty(reserved(5, 0))),
        (&[top], 4096, direct, MapError::Wraps(top)),
        (&[good, good], 4096, direct, MapError::Overlap(good, good)),
        (&comb, 4096, direct, MapError::TooManyBanks(comb[BANKS])),
        (&[large], 4096, direct, MapError::TooLarge(large)),
        (&[], 4096, direct, MapError::NothingUsable),
        (&[good, reserved(0x1000, MIB)], 4096, direct, MapError::NothingUsable),
        (&[usable(0x800, 0x1000)], 4096, direct, MapError::NothingUsable),
    ];
    for (map, size, direct, error) in inits {
        let frames = TestFrames::new();
        // SAFETY: refused before anything is written.
        assert_eq!(unsafe { frames.init(map, size, direct) }, Err(error), "{error}");
        assert_eq!((frames.stats().frames, frames.frame_size()), (0, None), "{error}");
        assert_eq!(frames.alloc(1), Err(FrameError::OutOfFrames));
        // SAFETY: as the map says.
        unsafe { frames.init(&[good], 4096, window.direct()) }.expect("nothing remains");
    }
}

#[test]
fn what_the_direct_map_does_not_reach_is_refused() {
    let direct = DirectMap::with_offset(0x1000);
    let last = usize::MAX as u64;
    assert!(direct.covers(0, last - 0x1000) && direct.covers(last - 0xffe, last));
    assert!(!direct.covers(0, last - 0xfff), "wraps");
    assert!(!direct.covers(last - 0xfff, last), "null");
    // With 64-bit pointers no stretch gets there: the frame at null divides it.
    let error = MapError::NotMapped(MemoryRange::usable(PhysAddr::new(1 << 32), 4096));
    let text = "usable 0x0001_0000_0000 + 4 KiB: beyond the direct map";
    assert_eq!(std::format!("{error}"), text);
}

#[test]
fn memory_is_given_once_and_more_of_it_later() {
    let window = window();
    let piece = |at: u64| MemoryRange::usable(window.at(at * MIB), MIB);
    let empty = TestFrames::new();
    // SAFETY: refused.
    assert_eq!(unsafe { empty.add(piece(0)) }, Err(MapError::NotInitialised));
    let frames = frames(&window, &[piece(1)], 4096).expect("a sound map");
    // SAFETY: refused, or the window's.
    let add = |range| unsafe { frames.add(range) };
    // SAFETY: refused.
    let again = unsafe { frames.init(&[piece(2)], 4096, window.direct()) };
    assert_eq!(again, Err(MapError::AlreadyInitialised));
    let reserved = MemoryRange::reserved(window.at(0), MIB);
    assert_eq!(add(reserved), Err(MapError::NothingUsable));
    // The tables of a bank are its memory, too.
    let tail = MemoryRange::usable(window.at(2 * MIB - 4096), MIB);
    let bank = piece(1).with_flags(FrameFlags::BELOW_4G);
    assert_eq!(add(tail), Err(MapError::Overlap(tail, bank)));
    let one = frames.stats();
    for more in [2, 0, 3, 4, 5] {
        add(piece(more)).expect("room");
    }
    // Across 4 GiB: two banks.
    let across = MemoryRange::usable(window.at(7 * MIB), 2 * MIB);
    add(across).expect("room");
    assert_eq!(frames.stats().banks, BANKS);
    assert_eq!(add(piece(10)), Err(MapError::TooManyBanks(piece(10))));
    let stats = frames.stats();
    assert_eq!((stats.frames, stats.free), (8 * one.frames, 8 * one.frames));
    // Ordinary memory first, and then the lowest.
    assert_eq!(frames.alloc(1).map(|run| run.start), Ok(PhysAddr::new(FOUR_G)));
    let low = Request::new(1).wanting(FrameFlags::BELOW_4G);
    assert_eq!(frames.alloc_with(low).map(|run| run.start), Ok(window.at(0)));
}

#[test]
fn a_run_that_is_not_one_is_not_taken_back() {
    let window = window();
    let frames = two_banks(&window);
    let all = frames.stats();
    let run = frames.alloc(10).expect("frames");
    let before = frames.stats();
    let at = |pages: u64| PhysAddr::new(run.start.get() + pages * 4096);
    let bank = frames.banks().nth(1).expect("the high bank");
    let (end, size) = (PhysAddr::new(bank.start.get() + bank.frames as u64 * 4096), bank.frames);
    let odd = PhysAddr::new(run.start.get() + 2048);
    let none = PhysAddr::new(0x1000);
    for (start, count, error) in [
        (run.start, 0, FrameError::BadRequest),
        (odd, 1, FrameError::Misaligned(odd)),
        (none, 1, FrameError::NotOurs(none)),
        (end, 1, FrameError::NotOurs(end)),
        (run.start, 11, FrameError::NotTaken(run.start)),
        (at(9), 2, FrameError::NotTaken(at(9))),
        (at(10), 1, FrameError::NotTaken(at(10))),
        (run.start, size + 1, FrameError::LeavesBank(run.start)),
        (run.start, usize::MAX, FrameError::LeavesBank(run.start)),
    ] {
        assert_eq!(free(&frames, FrameRun { start, frames: count }), Err(error), "{error}");
        assert_eq!(frames.stats(), before, "{error}");
    }
    free(&frames, run).expect("as it was handed out");
    assert_eq!((frames.stats().free, frames.stats().longest), (all.free, all.longest));
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let window = window();
    let frames = two_banks(&window);
    let bad = Err(FrameError::BadRequest);
    assert_eq!(frames.alloc(0), bad);
    assert_eq!(frames.alloc_with(Request::new(1).aligned_to(0)), bad);
    assert_eq!(frames.alloc_with(Request::new(1).aligned_to(3 << 12)), bad);
    assert_eq!(frames.reserve_range(window.at(0), 0), bad);
    assert_eq!(frames.reserve_range(window.at(0), u64::MAX), bad);
    let none = Err(FrameError::OutOfFrames);
    assert_eq!(frames.alloc(usize::MAX), none);
    assert_eq!(frames.alloc(1025), none);
    assert_eq!(frames.alloc_with(Request::new(1).aligned_to(1 << 63)), none);
    assert_eq!(frames.alloc_with(Request::new(1).wanting(FrameFlags::SLOW)), none);
    assert_eq!(frames.stats().allocations, 0);
    // 4 GiB is a multiple of itself.
    let aligned = frames.alloc_with(Request::new(3).aligned_to(FOUR_G));
    assert_eq!(aligned.map(|run| run.start), Ok(PhysAddr::new(FOUR_G)));
}

#[test]
fn scarce_and_slow_memory_goes_last() {
    let window = window();
    let (dma, slow) = (FrameFlags::DMA, FrameFlags::SLOW);
    let kinds = [
        (10 * MIB, slow),
        (9 * MIB, dma),
        (8 * MIB, FrameFlags::NO_ATOMICS),
        (11 * MIB, FrameFlags::empty()),
        (0, FrameFlags::empty()),
        (MIB, dma | slow),
        (12 * MIB, FrameFlags::empty()),
    ];
    let map = kinds.map(|(at, flags)| MemoryRange::usable(window.at(at), MIB).with_flags(flags));
    let frames = frames(&window, &map, 4096).expect("a sound map");
    let order = core::iter::from_fn(|| Some(frames.alloc(128).ok()?.start)).collect::<Vec<_>>();
    let places: Vec<u64> = order.iter().map(|at| (at.get() - window.at(0).get()) / MIB).collect();
    // 11 and 12 are one bank of 2 MiB; tables take a frame of each bank.
    assert_eq!(places, [11, 11, 12, 0, 10, 9, 1]);
    let named = frames.alloc_with(Request::new(1).wanting(FrameFlags::NO_ATOMICS));
    assert_eq!(named.map(|run| run.start), Ok(window.at(8 * MIB)));
}

#[test]
fn memory_up_to_the_last_address_there_is() {
    let window = Window::new(0u64.wrapping_sub(MIB), MIB as usize);
    let map = [MemoryRange::usable(window.at(0), MIB)];
    for size in [4096, 16 << 10, 64 << 10] {
        let frames = frames(&window, &map, size).expect("a sound map");
        let stats = frames.stats();
        assert_eq!((stats.frames + stats.tables) * size, MIB as usize);
        let all = frames.alloc(stats.frames).expect("all of it");
        assert_eq!((all.start, frames.alloc(1)), (window.at(0), Err(FrameError::OutOfFrames)));
        free(&frames, all).expect("all of it");
    }
}

#[test]
fn a_person_reads_the_counts() {
    let window = window();
    let frames = two_banks(&window);
    let _used = frames.alloc_with(Request::new(512).wanting(FrameFlags::BELOW_4G)).expect("2 MiB");
    assert_eq!(
        std::format!("{frames}"),
        "5.9 MiB of 7.9 MiB free in frames of 4 KiB, at most 3.9 MiB together; 2 banks, \
         tables 8 KiB; 1 runs allocated, 0 freed\n  \
         0x0000_ffc0_0000     1.9 MiB of    3.9 MiB free, at most    1.9 MiB together; \
         tables    4 KiB; BELOW_4G\n  \
         0x0001_0000_0000     3.9 MiB of    3.9 MiB free, at most    3.9 MiB together; \
         tables    4 KiB; ordinary"
    );
}
