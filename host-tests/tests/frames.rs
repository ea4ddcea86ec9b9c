//! Page frames under heaps and threads: a machine's physical memory is a
//! buffer of the host, half of it below 4 GiB, with holes.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::thread;

use granule::kernel::frames::{
    DirectMap, FrameFlags, FramePages, FrameRun, Frames, MemoryRange, PhysAddr, Request,
};
use granule::{HostEnv, ThreadCpu};
use granule_core::cache::guarded::Guarded;
use granule_core::check::conformance::page_provider;
use granule_core::provider::Capabilities;
use granule_core::{Config, Heap, PageProvider};
use granule_host_tests::model::fixtures::{HoppingCpus, Tested, heap};
use granule_host_tests::model::script::{Random, play};
use granule_host_tests::model::{Shadow, check_empty};

const BANKS: usize = 8;
type HostFrames = Frames<HostEnv, BANKS>;
type Pages = FramePages<HostEnv, BANKS>;

const MIB: u64 = 1 << 20;
const MEMORY: u64 = 24 * MIB;
const SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

/// A machine of 24 MiB, in five banks, for as long as the tests run.
fn machine(frame_size: usize) -> &'static HostFrames {
    let layout = Layout::from_size_align(MEMORY as usize, 64 << 10).expect("a layout");
    // SAFETY: not empty.
    let memory = unsafe { std::alloc::alloc(layout) };
    assert!(!memory.is_null());
    // Any contents: nobody may rely on zero.
    // SAFETY: just allocated.
    unsafe { memory.write_bytes(0xdb, MEMORY as usize) };
    let base = (1 << 32) - MEMORY / 2;
    let at = |offset: u64| PhysAddr::new(base + offset);
    let map = [
        MemoryRange::reserved(at(5 * MIB + 77), MIB),
        MemoryRange::usable(at(8 * MIB), 16 * MIB),
        MemoryRange::usable(at(0), 8 * MIB - 300_000),
        MemoryRange::reserved(at(20 * MIB - 5), 10),
    ];
    let frames: &'static HostFrames = Box::leak(Box::new(Frames::new()));
    let offset = memory.expose_provenance().wrapping_sub(base as usize);
    // SAFETY: the buffer is leaked, and the frames' alone.
    unsafe { frames.init(&map, frame_size, DirectMap::with_offset(offset)) }.expect("a sound map");
    assert_eq!(frames.stats().banks, 5);
    frames
}

/// All of one machine's frames are free, and together again.
fn check_untouched(frames: &HostFrames, size: usize) {
    let fresh = machine(size).stats();
    let stats = frames.stats();
    assert_eq!((stats.free, stats.longest), (fresh.frames, fresh.longest));
}

#[test]
fn frames_are_pages_as_the_heap_wants_them() {
    for size in SIZES {
        let frames = machine(size);
        for pages in [
            Pages::new(frames),
            Pages::new(frames).wanting(FrameFlags::BELOW_4G),
            Pages::new(frames).avoiding(FrameFlags::BELOW_4G),
        ] {
            let report = page_provider(&pages).expect("conforms");
            assert_eq!(report.refusals, 0, "{report:?}");
            assert_eq!((pages.page_size(), pages.capabilities()), (size, Capabilities::RELEASE));
        }
        check_untouched(frames, size);
    }
}

#[test]
fn before_init_there_are_no_pages() {
    static FRAMES: HostFrames = Frames::new();
    static PAGES: Pages = Pages::new(&FRAMES);
    assert!(PAGES.reserve(4096).is_err());
    let failure = page_provider(&PAGES).expect_err("nothing there");
    assert_eq!(failure.duty(), "reserve hands out a page");
}

#[test]
fn reservations_down_to_the_last_frame_and_back() {
    for size in SIZES {
        let frames = machine(size);
        let pages = Pages::new(frames);
        let mut held = Vec::new();
        let mut frames_each = 300;
        while frames_each > 0 {
            match pages.reserve(frames_each * size) {
                Ok(reservation) => held.push(reservation),
                Err(_) => frames_each /= 2,
            }
        }
        assert_eq!(frames.stats().free, 0);
        assert!(pages.reserve(size).is_err());
        for reservation in held {
            // SAFETY: the whole of it is ours until here.
            unsafe {
                reservation.start.write_bytes(0x11, reservation.bytes);
                pages.release(reservation).expect("what was reserved");
                assert!(pages.release(reservation).is_err(), "once");
            }
        }
        check_untouched(frames, size);
    }
}

#[test]
fn heaps_start_small_and_grow_by_halves() {
    let pages = Pages::new(machine(4096));
    let suggest = |needed, held| pages.suggest(needed, held);
    assert_eq!(suggest(4096, 0), 256 << 10);
    assert_eq!(suggest(4096, 256 << 10), 256 << 10);
    assert_eq!(suggest(4096, 8 << 20), 4 << 20);
    assert_eq!(suggest(4096, 1 << 40), 32 << 20);
    assert_eq!(suggest(1 << 30, 1 << 20), 1 << 30);
}

/// As a kernel would: a cache per CPU, here per thread.
#[derive(Debug)]
struct Kernel;

impl Config for Kernel {
    type Pages = Pages;
    type Front = Guarded<ThreadCpu, HostEnv, 256>;
    type Env = HostEnv;
}

/// Every block of this layout that can be had.
fn take_all(heap: &Heap<Kernel>, layout: Layout) -> Vec<NonNull<u8>> {
    std::iter::from_fn(|| NonNull::new(heap.alloc(layout))).collect()
}

#[test]
fn a_heap_takes_all_frames_and_gives_them_back() {
    for size in SIZES {
        let frames = machine(size);
        let all = frames.stats();
        let heap: &'static Heap<Kernel> =
            Box::leak(Box::new(Heap::new(Pages::new(frames), Guarded::new())));
        for (bytes, align) in [(4096, 4096), (40, 8), (100_000, 8), (1024, 8), (4096, 4096)] {
            let layout = Layout::from_size_align(bytes, align).expect("a layout");
            let blocks = take_all(heap, layout);
            // The heap has asked for the least that serves, and been refused:
            // what is left is shorter than a region with one more block.
            let left = frames.stats();
            let least = 2 * (bytes.next_multiple_of(4096) + size) + (128 << 10);
            assert!(left.longest * size < least, "{bytes} in {size}: {left}");
            assert!(left.free * size < 512 << 10, "{bytes} in {size}: {left}");
            for block in blocks {
                // SAFETY: live, of that layout.
                unsafe { heap.dealloc(block, layout) };
            }
            heap.reclaim();
            // Every frame is free or in a region that the heap still has: the
            // first, and those that its own records are in.
            let (stats, held) = (heap.stats(), frames.stats());
            assert_eq!(stats.live_bytes(), 0);
            assert_eq!((all.frames - held.free) * size, stats.reserved, "{stats:?}");
            assert!(stats.regions <= 2 && stats.reserved <= 512 << 10, "{stats:?}");
        }
    }
}

#[test]
fn random_programs_on_frames_that_run_out() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let frames = machine(size);
        let heap: &'static Heap<Tested<Pages, HoppingCpus>> = heap(Pages::new(frames));
        let mut shadow = Shadow::new(heap);
        let mut random = Random::new(seed as u64);
        let failures = play(&mut shadow, &mut random, 4000, 600, 4 << 20);
        assert!(failures > 0, "frames of {size} never ran out");
        shadow.check_counts();
        shadow.free_all(seed);
        check_empty(heap);
        let taken = frames.stats().frames - frames.stats().free;
        assert_eq!(taken * size, heap.stats().reserved);
    }
}

/// The words at both ends of every frame of a run.
fn ends(frames: &HostFrames, run: FrameRun) -> impl Iterator<Item = NonNull<u64>> {
    let size = frames.frame_size().expect("initialised");
    let start = frames.direct_map().pointer(run.start).expect("mapped").cast::<u64>();
    let words = size / 8;
    // SAFETY: inside the run.
    (0..run.frames).flat_map(move |frame| unsafe {
        [start.add(frame * words), start.add(frame * words + words - 1)]
    })
}

/// Takes and frees, and sees that nobody else writes to what it has.
fn worker(frames: &HostFrames, number: u64) {
    let mut random = Random::new(number + 1);
    let mut held: Vec<FrameRun> = Vec::new();
    let check = |run: FrameRun| {
        for word in ends(frames, run) {
            // SAFETY: the run is ours.
            assert_eq!(unsafe { word.read() }, number, "{run:?}");
        }
    };
    for _ in 0..20_000 {
        if held.len() < 40 && random.below(5) < 3 {
            let request = Request::new(random.below(40) + 1).aligned_to(1 << random.below(20));
            let place =
                PhysAddr::new((1 << 32) - MEMORY / 2 + random.below(MEMORY as usize) as u64);
            let run = match random.below(8) {
                0 => frames.reserve_range(place, random.below(100_000) as u64 + 1),
                1 => frames.alloc_with(request.wanting(FrameFlags::BELOW_4G)),
                _ => frames.alloc_with(request),
            };
            let Ok(run) = run else { continue };
            // SAFETY: the run is ours.
            ends(frames, run).for_each(|word| unsafe { word.write(number) });
            held.push(run);
        } else if !held.is_empty() {
            let run = held.swap_remove(random.below(held.len()));
            check(run);
            // SAFETY: ours until here.
            unsafe { frames.free(run) }.expect("a run of ours");
        }
    }
    for run in held {
        check(run);
        // SAFETY: ours until here.
        unsafe { frames.free(run) }.expect("a run of ours");
    }
}

#[test]
fn threads_share_frames() {
    let frames = machine(4096);
    thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || worker(frames, number));
        }
    });
    check_untouched(frames, 4096);
    let stats = frames.stats();
    assert!(stats.allocations == stats.frees && stats.frees > 10_000, "{stats}");
}

#[test]
fn threads_share_a_heap_over_frames() {
    let frames = machine(4096);
    let heap: &'static Heap<Tested<Pages, HoppingCpus>> = heap(Pages::new(frames));
    thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut shadow = Shadow::new(heap);
                play(&mut shadow, &mut Random::new(seed), 3000, 100, 200_000);
                shadow.free_all(seed as usize);
            });
        }
    });
    check_empty(heap);
    let taken = frames.stats().frames - frames.stats().free;
    assert_eq!(taken * 4096, heap.stats().reserved);
}
