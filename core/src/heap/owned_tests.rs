//! Heaps that end, alone, under a cap, inside of each other, and several at
//! once against a list of live blocks.

use std::alloc::Layout;
use std::vec::Vec;

use core::ptr::NonNull;
use proptest::prelude::*;

use super::*;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestCpu, TestEnv, cases, for_ever, migrate, unless_miri};
use crate::heap::{LocalHeap, Nested};
use crate::provider::{Capabilities, Capped, PageProvider};

/// A heap over a shared arena.
struct Shared;

impl Config for Shared {
    type Pages = &'static Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

/// One with a cap.
struct Limited;

impl Config for Limited {
    type Pages = Capped<&'static Arena>;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

/// One inside of another.
struct Inner;

impl Config for Inner {
    type Pages = Nested<Shared>;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

fn arena(page: usize, can: Capabilities) -> &'static Arena {
    migrate(0);
    for_ever(Arena::new(page, can, 1 << 30))
}

fn shared(arena: &'static Arena) -> OwnedHeap<Shared> {
    OwnedHeap::new(arena, Guarded::new())
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

fn fill<C: Config>(heap: &Heap<C>, sizes: &[usize]) -> Vec<NonNull<u8>> {
    let block = |&size: &usize| {
        let block = NonNull::new(heap.alloc(layout(size))).expect("memory");
        // SAFETY: live, and that large.
        unsafe { block.write_bytes(0x5a, size) };
        block
    };
    sizes.iter().map(block).collect()
}

const SIZES: [usize; 7] = [8, 100, 3000, 30_000, 100_000, 1 << 20, 5 << 20];

#[test]
fn what_is_live_goes_back_with_the_heap() {
    for page in [4096, 64 << 10] {
        for can in [Capabilities::all(), Capabilities::RELEASE] {
            let arena = arena(page, can);
            let heap = shared(arena);
            for cpu in [0, 1, 2] {
                migrate(cpu);
                fill(&heap, &SIZES);
            }
            let held = arena.reserved();
            assert!(held > 18 << 20, "{held}");
            assert_eq!(heap.destroy(), Ok(held));
            assert_eq!(arena.reserved(), 0);
        }
    }
}

#[test]
fn a_heap_that_is_dropped_or_never_used_keeps_nothing() {
    let arena = arena(4096, Capabilities::all());
    let used = shared(arena);
    fill(&used, &SIZES);
    drop(used);
    assert_eq!(arena.reserved(), 0);
    let calls = arena.asked();
    assert_eq!(shared(arena).destroy(), Ok(0));
    assert_eq!(arena.asked(), calls);
}

/// More regions than the directory has entries for itself: parts of it lie in
/// the regions that go.
#[test]
fn any_number_of_regions_goes() {
    let arena = arena(4096, Capabilities::RELEASE);
    let heap = shared(arena);
    let count = unless_miri(300, 16);
    fill(&heap, &std::vec![9 * PAGE_SIZE; count]);
    assert!(heap.stats().regions >= count / 2, "{:?}", heap.stats());
    assert!(heap.destroy().is_ok());
    assert_eq!(arena.reserved(), 0);
}

#[test]
fn a_heap_begins_anew() {
    let arena = arena(4096, Capabilities::all());
    let mut heap = shared(arena);
    for _ in 0..3 {
        let blocks = fill(&heap, &SIZES);
        // Some of them cached, some live.
        for (block, size) in blocks.iter().zip(SIZES).step_by(2) {
            // SAFETY: live, of that layout, freed once.
            unsafe { heap.dealloc(*block, layout(size)) };
        }
        assert!(heap.contains(blocks[1].as_ptr()));
        heap.release_all().expect("all goes");
        assert!(!heap.contains(blocks[1].as_ptr()));
        assert_eq!(heap.stats(), crate::observe::stats::Stats::default());
        heap.check().expect("an empty heap");
        assert_eq!(arena.reserved(), 0);
    }
}

#[test]
fn what_is_refused_is_kept_until_the_next_time() {
    let arena = arena(4096, Capabilities::RELEASE);
    let mut heap = shared(arena);
    fill(&heap, &SIZES);
    let held = arena.reserved();
    arena.refuse(Refuse::Release);
    assert_eq!(heap.release_all(), Err(ReleaseRefused { bytes: held }));
    // It can be used in the meantime.
    fill(&heap, &SIZES[..3]);
    let more = arena.reserved() - held;
    assert_eq!(heap.release_all(), Err(ReleaseRefused { bytes: held + more }));
    arena.refuse(Refuse::Call(1));
    let kept = heap.release_all().expect_err("the second region is refused").bytes;
    assert_eq!(arena.reserved(), kept);
    arena.refuse(Refuse::Nothing);
    assert_eq!(heap.release_all(), Ok(kept));
    assert_eq!(arena.reserved(), 0);
}

/// As often as it likes: of a provider that takes nothing back nothing more is taken.
#[test]
fn what_is_never_taken_back_is_used_again() {
    let none = Capabilities::empty();
    for can in [none, Capabilities::COMMIT, Capabilities::all() - Capabilities::RELEASE] {
        let arena = arena(4096, can);
        let pages = Capped::new(arena, 40 << 20).expect("enough");
        let mut heap = OwnedHeap::<Limited>::new(pages, Guarded::new());
        fill(&heap, &SIZES);
        let held = (arena.reserved(), heap.stats().regions);
        for _ in 0..unless_miri(100, 2) {
            assert_eq!(heap.release_all(), Ok(0));
            let stats = heap.stats();
            assert_eq!((stats.reserved, stats.regions), held);
            assert_eq!((stats.live_bytes(), heap.provider().held()), (0, held.0));
            heap.check().expect("an empty heap");
            let block = NonNull::new(heap.alloc_zeroed(layout(30_000))).expect("memory");
            // SAFETY: live, and that large.
            let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), 30_000) };
            assert!(crate::base::bytes::is_all(bytes, 0));
            // SAFETY: live, of that layout, freed once.
            unsafe { heap.dealloc(block, layout(30_000)) };
            fill(&heap, &SIZES);
            heap.check().expect("a whole heap");
            assert_eq!((arena.reserved(), heap.stats().regions), held);
        }
    }
}

/// More of them than the directory has entries for itself.
#[test]
fn any_number_of_regions_stays() {
    let arena = arena(4096, Capabilities::empty());
    let mut heap = shared(arena);
    let sizes = std::vec![9 * PAGE_SIZE; unless_miri(300, 16)];
    fill(&heap, &sizes);
    let held = (heap.stats().reserved, heap.stats().regions);
    for _ in 0..3 {
        assert_eq!(heap.release_all(), Ok(0));
        assert_eq!((heap.stats().reserved, heap.stats().regions), held);
        fill(&heap, &sizes);
        heap.check().expect("a whole heap");
        assert_eq!(arena.reserved(), held.0);
    }
}

#[test]
fn a_heap_that_moves_takes_its_blocks_along() {
    let arena = arena(4096, Capabilities::all());
    let heap = shared(arena);
    let blocks = fill(&heap, &SIZES);
    let heap = std::boxed::Box::new(heap);
    let more = fill(&heap, &SIZES);
    for (block, size) in blocks.into_iter().chain(more).zip(SIZES.into_iter().chain(SIZES)) {
        // SAFETY: live, of that layout, freed once.
        unsafe { heap.dealloc(block, layout(size)) };
    }
    assert_eq!(heap.stats().live_bytes(), 0);
    heap.check().expect("a whole heap");
}

#[test]
fn memory_of_the_callers_is_the_callers_again() {
    let arena = arena(4096, Capabilities::RELEASE);
    let mut memory = std::vec![0u64; (64 * PAGE_SIZE) / 8];
    let start = NonNull::new(memory.as_mut_ptr().cast::<u8>()).expect("memory");
    let mut heap = shared(arena);
    for round in 0..2 {
        // SAFETY: the heap's alone until it is as new.
        unsafe { heap.add_region(start, 64 * PAGE_SIZE) }.expect("room");
        let block = NonNull::new(heap.alloc(layout(5000))).expect("memory");
        assert!(block >= start && arena.reserved() == 0);
        heap.release_all().expect("nothing is the arena's");
        memory.fill(round);
    }
    assert!(memory.iter().all(|&word| word == 1));
}

#[test]
fn a_cap_holds_and_passes() {
    let arena = arena(4096, Capabilities::all());
    let refused = Capped::new(arena, 65_535).err();
    assert_eq!(refused, Some(crate::provider::CapTooSmall { least: 65_536 }));
    for cap in [65_536, 300_000, 6 << 20].into_iter().take(unless_miri(3, 2)) {
        let pages = Capped::new(arena, cap).expect("enough");
        let mut heap = OwnedHeap::<Limited>::new(pages, Guarded::new());
        for size in [64, 100, 1000, 5000, 100_000, 1 << 20].into_iter().skip(unless_miri(0, 2)) {
            let fits = size * 8 <= cap;
            let mut blocks = Vec::new();
            while let Some(block) = NonNull::new(heap.alloc(layout(size))) {
                blocks.push(block);
                assert!(arena.reserved() <= cap && heap.provider().held() == arena.reserved());
            }
            assert!(!fits || size > 1000 && cap < 1 << 20 || !blocks.is_empty(), "{size} {cap}");
            for block in blocks {
                // SAFETY: live, of that layout, freed once.
                unsafe { heap.dealloc(block, layout(size)) };
            }
            heap.check().expect("a whole heap");
        }
        assert!(heap.alloc(layout(cap)).is_null());
        heap.release_all().expect("all goes");
        assert_eq!((heap.provider().held(), arena.reserved()), (0, 0));
    }
}

#[test]
fn one_cap_for_several_heaps() {
    struct Together;
    impl Config for Together {
        type Pages = &'static Capped<&'static Arena>;
        type Front = Guarded<TestCpu, TestEnv, 2>;
        type Env = TestEnv;
    }
    let arena = arena(4096, Capabilities::RELEASE);
    let capped: &'static _ = for_ever(Capped::new(arena, 1 << 20).expect("enough"));
    let one = OwnedHeap::<Together>::new(capped, Guarded::new());
    let two = OwnedHeap::<Together>::new(capped, Guarded::new());
    fill(&one, &[700_000]);
    assert!(two.alloc(layout(700_000)).is_null());
    drop(one);
    fill(&two, &[700_000]);
}

#[test]
fn heaps_inside_of_heaps() {
    let arena = arena(4096, Capabilities::all());
    let outer = shared(arena);
    {
        // SAFETY: the outer heap stays, and outlives the inner ones.
        let inner =
            || OwnedHeap::<Inner>::new(unsafe { Nested::borrowing(&outer) }, Guarded::new());
        let (one, two) = (inner(), inner());
        let blocks = fill(&one, &SIZES);
        fill(&two, &SIZES);
        assert!(blocks.iter().all(|block| one.contains(block.as_ptr())));
        assert!(blocks.iter().all(|block| outer.contains(block.as_ptr())));
        assert!(!blocks.iter().any(|block| two.contains(block.as_ptr())));
        drop(one);
        assert!(outer.stats().live_bytes() >= two.stats().reserved);
        fill(&two, &SIZES);
    }
    assert_eq!(outer.stats().live_bytes(), 0);
    outer.check().expect("a whole heap");
    assert!(outer.destroy().is_ok());
    assert_eq!(arena.reserved(), 0);
}

#[test]
fn foreign_pointers_are_in_no_heap() {
    let arena = arena(4096, Capabilities::all());
    let heap = shared(arena);
    let local = 0u8;
    for pointer in [core::ptr::null(), &raw const local, core::ptr::without_provenance(usize::MAX)]
    {
        assert!(!heap.contains(pointer));
    }
    let block = fill(&heap, &[100])[0];
    assert!(heap.contains(block.as_ptr()) && !heap.contains(&raw const local));
    // Inside of a block, too.
    assert!(heap.contains(block.as_ptr().wrapping_add(50)));
}

#[test]
fn providers_of_providers_conform() {
    use crate::check::conformance::page_provider;
    let arena = arena(4096, Capabilities::all());
    page_provider(&arena).expect("a shared one");
    page_provider(&Capped::new(arena, 1 << 29).expect("enough")).expect("a capped one");
    let outer = shared(arena);
    // SAFETY: the outer heap stays, and outlives the provider.
    let nested = unsafe { Nested::borrowing(&outer) };
    assert!(nested.capabilities() == Capabilities::RELEASE);
    page_provider(&nested).expect("a nested one");
}

static_assertions::assert_impl_all!(OwnedHeap<Shared>: Send, Sync);
static_assertions::assert_impl_all!(LocalHeap<&'static Arena, TestEnv>: Send);
static_assertions::assert_not_impl_any!(LocalHeap<&'static Arena, TestEnv>: Sync);

#[test]
fn a_heap_of_one_thread_goes_to_another_and_ends() {
    let arena = arena(4096, Capabilities::all());
    let mut heap = LocalHeap::<&'static Arena, TestEnv>::new(arena);
    let pair = |heap: &LocalHeap<_, _>| {
        for size in SIZES {
            let block = NonNull::new(heap.alloc_zeroed(layout(size))).expect("memory");
            assert!(heap.contains(block.as_ptr()) && heap.usable_size(block) >= Some(size));
            // SAFETY: live, of that layout; freed once.
            unsafe {
                let moved = heap.realloc(block, layout(size), 2 * size);
                heap.dealloc(NonNull::new(moved).expect("memory"), layout(2 * size));
            }
        }
        assert_eq!(heap.stats().live_bytes(), 0);
    };
    for _ in 0..3 {
        pair(&heap);
        heap = std::thread::spawn(move || {
            pair(&heap);
            heap
        })
        .join()
        .expect("no panic");
        assert!(heap.stats().slots == 1 && heap.reclaim() > 0);
    }
    fill_local(&heap);
    heap.release_all().expect("all goes");
    assert_eq!(arena.reserved(), 0);
    fill_local(&heap);
    drop(heap);
    assert_eq!(arena.reserved(), 0);
}

fn fill_local(heap: &LocalHeap<&'static Arena, TestEnv>) {
    assert!(SIZES.iter().all(|&size| !heap.alloc(layout(size)).is_null()));
}

/// A step of a program with several heaps.
#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc { heap: usize, size: usize },
    Free { pick: usize },
    Realloc { pick: usize, size: usize },
    Destroy { heap: usize },
    Migrate(usize),
}

const HEAPS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![4 => 1..300usize, 2 => 1..9000usize, 1 => 1..300_000usize];
    let (heap, pick) = (|| 0..HEAPS, || any::<usize>());
    let step = prop_oneof![
        10 => (heap(), size()).prop_map(|(heap, size)| Step::Alloc { heap, size }),
        6 => pick().prop_map(|pick| Step::Free { pick }),
        3 => (pick(), size()).prop_map(|(pick, size)| Step::Realloc { pick, size }),
        1 => heap().prop_map(|heap| Step::Destroy { heap }),
        1 => (0..3usize).prop_map(Step::Migrate),
    ];
    prop::collection::vec(step, 1..unless_miri(200, 16))
}

struct Block {
    heap: usize,
    start: NonNull<u8>,
    size: usize,
    seed: u8,
}

impl Block {
    fn fill(&self) {
        // SAFETY: live, and that large.
        unsafe { self.start.write_bytes(self.seed, self.size) };
    }

    fn verify(&self, size: usize) {
        // SAFETY: live, and at least that large.
        let bytes = unsafe { core::slice::from_raw_parts(self.start.as_ptr(), size) };
        assert!(crate::base::bytes::is_all(bytes, self.seed), "of heap {}", self.heap);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// Blocks keep their contents, whichever heaps end around them, and what a
    /// heap held is all given back.
    #[test]
    fn several_heaps_end_at_random(steps in steps()) {
        let arena = arena(4096, Capabilities::all());
        let mut heaps: Vec<_> = (0..HEAPS).map(|_| shared(arena)).collect();
        let mut blocks: Vec<Block> = Vec::new();
        let mut seed = 0u8;
        for step in steps {
            let pick = |pick: usize| pick.checked_rem(blocks.len());
            match step {
                Step::Alloc { heap, size } => {
                    let start = NonNull::new(heaps[heap].alloc(layout(size))).expect("memory");
                    seed = seed.wrapping_add(59);
                    blocks.push(Block { heap, start, size, seed });
                    blocks[blocks.len() - 1].fill();
                }
                Step::Free { pick: number } => if let Some(number) = pick(number) {
                    let block = blocks.swap_remove(number);
                    block.verify(block.size);
                    for (number, heap) in heaps.iter().enumerate() {
                        assert_eq!(heap.contains(block.start.as_ptr()), number == block.heap);
                    }
                    // SAFETY: live, of that heap and layout, and forgotten.
                    unsafe { heaps[block.heap].dealloc(block.start, layout(block.size)) };
                },
                Step::Realloc { pick: number, size } => if let Some(number) = pick(number) {
                    let block = &mut blocks[number];
                    let heap = &heaps[block.heap];
                    // SAFETY: live, of that heap and layout.
                    let moved = unsafe { heap.realloc(block.start, layout(block.size), size) };
                    block.start = NonNull::new(moved).expect("memory");
                    block.verify(block.size.min(size));
                    block.size = size;
                    block.fill();
                },
                Step::Destroy { heap } => {
                    let held = arena.reserved();
                    let own = heaps[heap].stats().reserved;
                    core::mem::replace(&mut heaps[heap], shared(arena)).destroy().expect("all goes");
                    assert_eq!(arena.reserved(), held - own);
                    blocks.retain(|block| block.heap != heap);
                }
                Step::Migrate(cpu) => migrate(cpu),
            }
        }
        for (number, heap) in heaps.iter().enumerate() {
            let own = blocks.iter().filter(|block| block.heap == number);
            let live: usize = own.map(|block| heap.usable_size(block.start).expect("live")).sum();
            assert_eq!(heap.stats().live_bytes(), live);
            heap.check().expect("a whole heap");
        }
        blocks.iter().for_each(|block| block.verify(block.size));
        drop(heaps);
        assert_eq!(arena.reserved(), 0);
    }
}
