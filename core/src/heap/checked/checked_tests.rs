//! Heaps whose configuration says that every call is checked.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use super::header::HEADER;
use crate::base::bytes::is_all;
use crate::base::class::{Class, MAX_SMALL, TABLED};
use crate::base::config::Config;
use crate::base::fault::FaultKind;
use crate::base::tier::Tier;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Call, Refuse};
use crate::check::surroundings::{TestCpu, TestEnv, for_ever, keep, migrate, unless_miri};
use crate::heap::{Heap, OwnedHeap};
use crate::provider::{Capabilities, NoPages};

macro_rules! heap_of {
    ($name:ident, $tier:expr, $pages:ty) => {
        struct $name;

        impl Config for $name {
            type Pages = $pages;
            type Front = Guarded<TestCpu, TestEnv, 2>;
            type Env = TestEnv;

            const TIER: Tier = $tier;
        }
    };
}

heap_of!(Moderate, Tier::Moderate, Arena);
heap_of!(Full, Tier::Full, Arena);

fn heap<C: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>>>() -> &'static Heap<C> {
    migrate(0);
    for_ever(Heap::new(Arena::new(4096, Capabilities::all(), 64 << 20), Guarded::new()))
}

fn bytes(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("small")
}

const SMALL: Layout = Layout::new::<[u64; 5]>();

fn alloc<C: Config>(heap: &Heap<C>, layout: Layout) -> NonNull<u8> {
    NonNull::new(heap.alloc(layout)).expect("memory")
}

/// The block `layout`, with every byte of it written.
fn filled<C: Config>(heap: &Heap<C>, layout: Layout, value: u8) -> NonNull<u8> {
    let block = alloc(heap, layout);
    // SAFETY: as long as its layout.
    unsafe { block.write_bytes(value, layout.size()) };
    block
}

/// Blocks of all kinds live side by side, keep their contents, and go.
fn serves<C: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>>>() {
    let heap = heap::<C>();
    let mut live = Vec::new();
    for round in 0..unless_miri(400, 20) {
        let size = [0, 1, 24, 100, 1000, 5000, 40_000, 200_000][round % 8] + round % 7;
        let layout = bytes(size, 1 << (round % 14));
        let value = round as u8;
        let block = filled(heap, layout, value);
        assert!(block.addr().get().is_multiple_of(layout.align().max(16)));
        assert_eq!(heap.usable_size(block), Some(size));
        let zero = NonNull::new(heap.alloc_zeroed(layout)).expect("memory");
        // SAFETY: as long as its layout.
        let all = unsafe { core::slice::from_raw_parts(zero.as_ptr(), size) };
        assert!(is_all(all, 0));
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(zero, layout) };
        live.push((block, layout, value));
        if round % 3 == 2 {
            let (block, layout, value) = live.swap_remove(round % live.len());
            let size = layout.size() * (round % 5) / 2;
            // SAFETY: live, of that layout.
            let moved = unsafe { heap.realloc(block, layout, size) };
            let moved = NonNull::new(moved).expect("memory");
            let kept = layout.size().min(size);
            // SAFETY: as long as its layout.
            let all = unsafe { core::slice::from_raw_parts(moved.as_ptr(), kept) };
            assert!(is_all(all, value));
            // SAFETY: live, without its layout.
            unsafe { heap.free(moved) };
        }
    }
    heap.check().expect("sound");
    let mut reserve = heap.prefill(SMALL, 10).expect("memory");
    let nolock = NonNull::new(heap.try_alloc_nolock(SMALL)).expect("a cached one");
    // SAFETY: live, of that layout.
    unsafe {
        heap.dealloc_nolock(nolock, SMALL);
        heap.dealloc(reserve.take().expect("ten"), SMALL);
    }
    drop(reserve);
    for (block, layout, _) in live {
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, layout) };
    }
    heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.live_bytes(), stats.quarantined_bytes), (0, 0), "{stats:?}");
}

#[test]
fn moderate_serves_as_any_other() {
    serves::<Moderate>();
}

/// Blocks of every size at the end of a class, in cached objects and in new ones.
#[test]
fn medium_blocks_are_as_large_as_asked_and_apart() {
    let heap = heap::<Moderate>();
    let most = MAX_SMALL - HEADER;
    let ends = Class::all().map(|class| class.size().saturating_sub(HEADER));
    let ends = ends.filter(|&end| (TABLED..most).contains(&end)).step_by(unless_miri(1, 2));
    let sizes: Vec<_> =
        ends.flat_map(|end| [end, end + 1]).chain([TABLED, most, most + 1]).collect();
    assert!(sizes.len() > 20);
    for _ in 0..2 {
        let blocks: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(at, &size)| (filled(heap, bytes(size, 8), at as u8), size, at as u8))
            .collect();
        for (block, size, value) in blocks {
            assert_eq!(heap.usable_size(block), Some(size));
            // SAFETY: as long as its layout.
            let all = unsafe { core::slice::from_raw_parts(block.as_ptr(), size) };
            assert!(is_all(all, value), "{size}");
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, bytes(size, 8)) };
            let zero = NonNull::new(heap.alloc_zeroed(bytes(size, 8))).expect("memory");
            // SAFETY: as long as its layout.
            let all = unsafe { core::slice::from_raw_parts(zero.as_ptr(), size) };
            assert!(is_all(all, 0), "{size}");
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(zero, bytes(size, 8)) };
        }
    }
    heap.check().expect("sound");
}

#[test]
fn full_serves_as_any_other() {
    serves::<Full>();
}

#[test]
fn blocks_come_in_random_order() {
    let heap = heap::<Moderate>();
    let blocks: Vec<_> = (0..100).map(|_| alloc(heap, SMALL).addr().get()).collect();
    let mut steps: Vec<_> = blocks.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.sort_unstable();
    steps.dedup();
    // In order there would be one step, and one for each slab.
    assert!(steps.len() > 30, "{}", steps.len());
}

#[test]
fn freed_blocks_wait_in_full() {
    let heap = heap::<Full>();
    let block = alloc(heap, SMALL);
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, SMALL) };
    assert!(heap.stats().quarantined_bytes > 0);
    let others: Vec<_> = (0..unless_miri(500, 40)).map(|_| alloc(heap, SMALL)).collect();
    assert!(!others.contains(&block));
    for other in others {
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(other, SMALL) };
    }
}

/// Blocks that were live when their heap ended are no part of the next one.
fn serves_in_used_memory<C>()
where
    C: Config<Pages = NoPages, Front = Guarded<TestCpu, TestEnv, 2>, Env = TestEnv>,
{
    migrate(0);
    let memory = std::vec![0u64; 1 << 17].leak();
    let size = size_of_val(memory);
    let start = NonNull::from(memory).cast::<u8>();
    keep(start);
    for _ in 0..3 {
        let mut heap: OwnedHeap<C> = OwnedHeap::new(NoPages, Guarded::new());
        for _ in 0..2 {
            // SAFETY: for ever, and the heap's alone until it has given all back.
            unsafe { heap.add_region(start, size) }.expect("room for tables");
            for _ in 0..unless_miri(100, 20) {
                assert!(!heap.alloc(SMALL).is_null());
            }
            heap.check().expect("sound");
            heap.release_all().expect("given back");
        }
    }
}

heap_of!(ModerateInAdded, Tier::Moderate, NoPages);
heap_of!(FullInAdded, Tier::Full, NoPages);

#[test]
fn moderate_serves_in_memory_of_a_heap_that_ended() {
    serves_in_used_memory::<ModerateInAdded>();
}

#[test]
fn full_serves_in_memory_of_a_heap_that_ended() {
    serves_in_used_memory::<FullInAdded>();
}

/// What waits is bounded by what it keeps from others: what lies before a block for its
/// alignment, too, and whatever the blocks were that waited before.
#[test]
fn no_more_waits_than_is_promised() {
    let most = |layouts: &[(Layout, usize)], bound: usize| {
        let heap = heap::<Full>();
        for &(layout, count) in layouts {
            for _ in 0..count {
                let block = alloc(heap, layout);
                // SAFETY: live, of that layout.
                unsafe { heap.dealloc(block, layout) };
                let stats = heap.stats();
                assert!(stats.slab_bytes + stats.large_bytes <= bound, "{layout:?}: {stats:?}");
            }
        }
    };
    let (few, some) = (unless_miri(40, 10), unless_miri(1000, 40));
    most(&[(bytes(16, 256 << 10), few)], 8 << 20);
    // A few small ones go for each large one.
    most(&[(bytes(8000, 8), some), (bytes(30_000, 256 << 10), few)], 24 << 20);
}

#[test]
fn what_cannot_be_had_is_null_and_changes_nothing() {
    let heap = heap::<Full>();
    let block = filled(heap, SMALL, 7);
    for size in [isize::MAX as usize - 4096, 128 << 20] {
        assert!(heap.alloc(bytes(size, 8)).is_null());
        // SAFETY: live, of that layout.
        assert!(unsafe { heap.realloc(block, SMALL, size) }.is_null());
    }
    // SAFETY: live still.
    unsafe {
        assert_eq!(block.read(), 7);
        heap.dealloc(block, SMALL);
    }
}

const LARGE: Layout = match Layout::from_size_align(100_000, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("small"),
};

/// What an access so far from a block would be reported as, if it faulted.
fn explained(heap: &Heap<Full>, block: NonNull<u8>, by: isize) -> Option<FaultKind> {
    heap.explain(block.addr().get().wrapping_add_signed(by)).map(|fault| {
        assert_eq!((fault.address, fault.size), (block.addr().get(), Some(LARGE.size())));
        fault.kind
    })
}

#[test]
fn large_blocks_stand_between_guards_and_are_inaccessible_once_freed() {
    for page in [4096, 16 << 10, 64 << 10] {
        migrate(0);
        let arena = Arena::new(page, Capabilities::all(), 64 << 20);
        let heap = for_ever(Heap::<Full>::new(arena, Guarded::new()));
        let block = filled(heap, LARGE, 7);
        let (start, size) = (block.addr().get(), LARGE.size());
        assert!((start + size).is_multiple_of(page), "the guard is behind the last byte");
        assert_eq!(explained(heap, block, size as isize), Some(FaultKind::PastEnd));
        let before = explained(heap, block, -2 * page as isize - 32);
        assert!(before.is_none_or(|kind| kind == FaultKind::BeforeStart), "{before:?}");
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, LARGE) };
        assert_eq!(explained(heap, block, 0), Some(FaultKind::UsedAfterFree));
        assert_eq!(explained(heap, block, 70_000), Some(FaultKind::UsedAfterFree));
        assert!(heap.stats().quarantined_bytes >= size);
        heap.reclaim();
        assert_eq!(explained(heap, block, 0), None);
        let stats = heap.stats();
        assert_eq!((stats.live_bytes(), stats.quarantined_bytes), (0, 0), "{stats:?}");
        heap.check().expect("sound");
    }
}

#[test]
fn large_blocks_do_with_what_is_refused() {
    let run = |heap: &Heap<Full>| {
        for _ in 0..3 {
            let Some(block) = NonNull::new(heap.alloc(LARGE)) else { continue };
            // SAFETY: live, of that layout.
            unsafe {
                block.write_bytes(3, LARGE.size());
                heap.dealloc(block, LARGE);
            }
        }
        heap.reclaim();
    };
    let calls = {
        let heap = heap::<Full>();
        heap.provider().refuse(Refuse::Nothing);
        run(heap);
        let calls = [Call::Commit, Call::Purge, Call::Protect, Call::Unprotect];
        assert_eq!(heap.provider().not_called(&calls), []);
        heap.provider().calls()
    };
    assert!(calls > 10, "{calls}");
    for number in (0..calls).step_by(unless_miri(1, 13)) {
        let heap = heap::<Full>();
        heap.provider().refuse(Refuse::Call(number));
        run(heap);
        heap.provider().refuse(Refuse::Nothing);
        heap.check().expect("sound");
        let block = filled(heap, LARGE, 1);
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, LARGE) };
    }
}

macro_rules! found {
    ($($name:ident: $config:ty, $expected:literal, |$heap:ident, $block:ident| $mistake:expr;)+) => {
        $(
            #[test]
            #[should_panic(expected = $expected)]
            fn $name() {
                let $heap = heap::<$config>();
                let $block = alloc($heap, SMALL);
                // SAFETY: none: the mistake under test, which the tier finds
                // before it does harm.
                unsafe { $mistake };
            }
        )+
    };
}

found! {
    a_double_free: Moderate, "double free", |heap, block| {
        heap.dealloc(block, SMALL);
        heap.dealloc(block, SMALL);
    };
    a_double_free_of_a_medium_block: Moderate, "double free", |heap, block| {
        heap.free(block);
        let block = alloc(heap, bytes(2000, 8));
        heap.free(block);
        let block = alloc(heap, bytes(2000, 8));
        heap.free(block);
        heap.free(block);
    };
    a_wrong_size_of_a_medium_block: Moderate, "wrong layout", |heap, block| {
        heap.free(block);
        heap.free(alloc(heap, bytes(2000, 8)));
        heap.dealloc(alloc(heap, bytes(2000, 8)), bytes(2001, 8));
    };
    a_double_free_of_a_large_block: Full, "double free", |heap, block| {
        heap.free(block);
        let block = alloc(heap, LARGE);
        heap.dealloc(block, LARGE);
        heap.dealloc(block, LARGE);
    };
    a_free_inside_a_large_block: Full, "invalid pointer", |heap, block| {
        heap.free(block);
        heap.free(alloc(heap, LARGE).add(4096));
    };
    a_write_before_a_large_block: Full, "before its start", |heap, block| {
        heap.free(block);
        let block = alloc(heap, LARGE);
        // Another byte, whatever the key has made of it.
        block.sub(1).write(!block.sub(1).read());
        heap.dealloc(block, LARGE);
    };
    a_double_free_without_layout: Full, "double free", |heap, block| {
        heap.free(block);
        heap.free(block);
    };
    a_double_free_that_may_not_wait: Moderate, "double free", |heap, block| {
        heap.dealloc(block, SMALL);
        heap.dealloc_nolock(block, SMALL);
    };
    a_block_of_another_heap: Moderate, "invalid pointer", |heap, block| {
        self::heap::<Moderate>().dealloc(block, SMALL);
        let _ = heap;
    };
    a_record_that_says_a_live_block_is_free: Moderate, "corrupted", |heap, block| {
        // A second owner: the raw object goes to the cache behind the checks' back.
        heap.free_raw(block.sub(HEADER));
        alloc(heap, SMALL);
    };
    a_free_inside_a_block: Moderate, "invalid pointer", |heap, block| heap.free(block.add(16));
    a_wrong_size: Moderate, "wrong layout", |heap, block| heap.dealloc(block, bytes(39, 8));
    a_wrong_alignment: Moderate, "wrong layout", |heap, block| heap.dealloc(block, bytes(40, 64));
    a_realloc_with_a_wrong_size: Full, "wrong layout", |heap, block| {
        heap.realloc(block, bytes(41, 8), 100);
    };
    a_realloc_of_a_freed_block: Moderate, "double free", |heap, block| {
        heap.free(block);
        heap.realloc(block, SMALL, 100);
    };
    a_write_before_the_start: Moderate, "before its start", |heap, block| {
        // Another byte, whatever the key has made of it.
        block.sub(1).write(!block.sub(1).read());
        heap.dealloc(block, SMALL);
    };
    a_write_past_the_end: Full, "past its end", |heap, block| {
        block.add(40).write(0x5a);
        heap.dealloc(block, SMALL);
    };
    a_write_after_free: Full, "after it was freed", |heap, block| {
        heap.dealloc(block, SMALL);
        block.add(39).write(0x5a);
        heap.reclaim();
    };
}
