//! Sampled blocks over an arena that knows what is accessible.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::alloc::Layout;
use std::vec::Vec;

use super::pool::SLOT;
use crate::base::bytes::is_all;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::fault::{Fault, FaultKind};
use crate::base::origin::{Caller, Origin};
use crate::base::sampling::Sampling;
use crate::base::tier::Tier;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestCpu, TestEnv, advance, for_ever, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

pub(super) const SLOTS: u32 = 4;

std::thread_local! {
    static RATE: AtomicU32 = const { AtomicU32::new(1) };
}

macro_rules! heap_of {
    ($name:ident, $tier:expr) => {
        pub(super) struct $name;

        impl Config for $name {
            type Pages = Arena;
            type Front = Guarded<TestCpu, TestEnv, 2>;
            type Env = TestEnv;

            const TIER: Tier = $tier;
            const SAMPLES: bool = true;

            fn sampling() -> Sampling {
                Sampling { rate: RATE.with(|rate| rate.load(Relaxed)), slots: SLOTS }
            }
        }
    };
}

heap_of!(Sampled, Tier::Basic);
heap_of!(Moderate, Tier::Moderate);

pub(super) fn heap_on<C>(page: usize, can: Capabilities) -> &'static Heap<C>
where
    C: Config<Pages = Arena, Front = Guarded<TestCpu, TestEnv, 2>>,
{
    migrate(0);
    RATE.with(|rate| rate.store(1, Relaxed));
    for_ever(Heap::new(Arena::new(page, can, 64 << 20), Guarded::new()))
}

pub(super) fn heap() -> &'static Heap<Sampled> {
    heap_on(4096, Capabilities::all())
}

fn alloc<C: Config>(heap: &Heap<C>, size: usize) -> NonNull<u8> {
    let class = Class::for_malloc(size);
    NonNull::new(heap.alloc_class(class, size, Caller(0x1234))).expect("memory")
}

pub(super) fn is_sampled<C: Config>(heap: &Heap<C>, block: NonNull<u8>) -> bool {
    heap.explain(block.addr().get()).is_some()
}

fn free<C: Config>(heap: &Heap<C>, block: NonNull<u8>) {
    // SAFETY: callers pass live blocks, or make the mistake under test.
    unsafe { heap.dealloc_missed(block, None, Caller(0x5678)) };
}

/// What an access so far from the block would be reported as.
fn explained(heap: &Heap<Sampled>, block: NonNull<u8>, by: isize) -> Fault {
    heap.explain(block.addr().get().wrapping_add_signed(by)).expect("in the pool")
}

#[test]
fn blocks_lie_at_an_end_of_their_pages_and_hold_what_is_written() {
    for page in [4096, 16 << 10, 64 << 10] {
        let heap = heap_on::<Sampled>(page, Capabilities::all());
        let (mut first, mut last) = (0, 0);
        for round in 0..unless_miri(200, 12) {
            let size = [0, 1, 8, 9, 200, 4096, 5000, SLOT][round % 8];
            let block = alloc(heap, size);
            assert!(is_sampled(heap, block), "{size}");
            let (start, end) = (block.addr().get(), block.addr().get() + size.max(1));
            assert!(start.is_multiple_of(if size > 8 { 16 } else { 8 }));
            let at_end = end.next_multiple_of(if size > 8 { 16 } else { 8 });
            first += usize::from(start.is_multiple_of(page));
            last += usize::from(at_end.is_multiple_of(page));
            assert!(start.is_multiple_of(page) || at_end.is_multiple_of(page));
            assert_eq!(heap.usable_size(block), Some(size));
            // SAFETY: live, of that size.
            unsafe { block.write_bytes(round as u8, size) };
            free(heap, block);
        }
        assert!(first > 2 && last > 2, "{first} {last}");
        heap.check().expect("sound");
    }
}

#[test]
fn zero_is_zero_in_a_slot_that_was_used() {
    let heap = heap();
    for _ in 0..3 * SLOTS {
        let zero = heap.alloc_class_zeroed(Class::for_malloc(100), 100, Caller::UNKNOWN);
        let zero = NonNull::new(zero).expect("memory");
        assert!(is_sampled(heap, zero));
        // SAFETY: live, of that size.
        unsafe {
            let all = core::slice::from_raw_parts(zero.as_ptr(), 100);
            assert!(is_all(all, 0));
            zero.write_bytes(9, 100);
        }
        free(heap, zero);
    }
}

#[test]
fn slots_are_used_oldest_first_and_others_are_ordinary() {
    let heap = heap();
    let blocks: Vec<_> = (0..SLOTS).map(|_| alloc(heap, 100)).collect();
    assert!(blocks.iter().all(|&block| is_sampled(heap, block)));
    let other = alloc(heap, 100);
    assert!(!is_sampled(heap, other), "there is no slot left");
    assert!(!is_sampled(heap, alloc(heap, SLOT + 1)));
    let pool = heap.sampler.pool().expect("there are blocks");
    let slot = |block: NonNull<u8>| pool.slot_of(block.addr().get());
    let order = [2, 0, 3, 1];
    order.iter().for_each(|&at| free(heap, blocks[at]));
    let again: Vec<_> = order.iter().map(|_| slot(alloc(heap, 100))).collect();
    let expected: Vec<_> = order.iter().map(|&at| slot(blocks[at])).collect();
    assert_eq!(again, expected);
    // SAFETY: live, of that layout, and no sampled one.
    unsafe { heap.dealloc(other, Layout::from_size_align(100, 1).expect("small")) };
}

#[test]
fn blocks_grow_and_shrink_out_of_their_slots() {
    let heap = heap();
    let block = alloc(heap, 100);
    // SAFETY: live, as long as said; the old pointer is not used again.
    unsafe {
        block.write_bytes(7, 100);
        let grown = NonNull::new(heap.realloc_unsized(block, 70_000, Caller(0x9abc)));
        let grown = grown.expect("memory");
        assert!(!is_sampled(heap, grown));
        let kept = core::slice::from_raw_parts(grown.as_ptr(), 100);
        assert!(is_all(kept, 7));
        heap.free(grown);
    }
    let fault = explained(heap, block, 0);
    assert_eq!(fault.kind, FaultKind::UsedAfterFree);
    assert_eq!(fault.freed.expect("known").caller, Caller(0x9abc));
}

#[test]
fn a_block_that_moves_is_sampled_where_it_moves_to() {
    for size in [100, 70_000] {
        let heap = heap();
        RATE.with(|rate| rate.store(0, Relaxed));
        let block = alloc(heap, size);
        assert!(!is_sampled(heap, block));
        RATE.with(|rate| rate.store(1, Relaxed));
        heap.sampling_is_known();
        let mut block = block;
        // Out of a class or run, and from slot to slot.
        for new_size in [5000, 9000, 300] {
            // SAFETY: live, as long as said; the old pointer is not used again.
            unsafe {
                block.write_bytes(7, 100);
                let moved = heap.realloc_unsized(block, new_size, Caller(0x9abc));
                let moved = NonNull::new(moved).expect("memory");
                assert!(is_sampled(heap, moved), "{size} to {new_size}");
                let kept = core::slice::from_raw_parts(moved.as_ptr(), 100);
                assert!(kept.iter().all(|&byte| byte == 7));
                block = moved;
            }
            let past = explained(heap, block, new_size as isize);
            assert_eq!((past.kind, past.size), (FaultKind::PastEnd, Some(new_size)));
            assert_eq!(past.allocated.expect("known").caller, Caller(0x9abc));
        }
        free(heap, block);
        heap.check().expect("sound");
        assert_eq!(heap.stats().live_bytes(), 0);
    }
}

#[test]
fn a_block_stays_where_it_is_if_no_memory_is_left_to_move_it_to() {
    let heap = heap();
    let block = alloc(heap, 100);
    // SAFETY: live, of that size.
    unsafe { block.write_bytes(7, 100) };
    heap.provider().refuse(Refuse::FromCall(0));
    // SAFETY: live.
    let moved = unsafe { heap.realloc_unsized(block, 5000, Caller::UNKNOWN) };
    assert!(moved.is_null());
    heap.provider().refuse(Refuse::Nothing);
    // SAFETY: live, of that size.
    let kept = unsafe { core::slice::from_raw_parts(block.as_ptr(), 100) };
    assert!(kept.iter().all(|&byte| byte == 7));
    free(heap, block);
    // The slot that was opened in vain is in the queue again.
    let blocks: Vec<_> = (0..SLOTS).map(|_| alloc(heap, 2000)).collect();
    assert!(blocks.iter().all(|&block| is_sampled(heap, block)));
}

#[test]
fn accesses_are_explained() {
    let heap = heap();
    assert_eq!(heap.explain(4096), None);
    let blocks: Vec<_> = (0..SLOTS - 1).map(|_| alloc(heap, 100)).collect();
    for &block in &blocks {
        let size = Some(100);
        let past = explained(heap, block, 2000);
        assert_eq!((past.kind, past.size), (FaultKind::PastEnd, size));
        assert_eq!(past.address, block.addr().get());
        assert_eq!(past.accessed, Some(block.addr().get() + 2000));
        let before = explained(heap, block, -1);
        assert_eq!((before.kind, before.size), (FaultKind::BeforeStart, size));
        let origin = Origin { thread: 0, caller: Caller(0x1234) };
        assert_eq!(before.allocated, Some(origin));
    }
    free(heap, blocks[1]);
    let after = explained(heap, blocks[1], 50);
    assert_eq!(after.kind, FaultKind::UsedAfterFree);
    assert_eq!(after.freed, Some(Origin { thread: 0, caller: Caller(0x5678) }));
    let report = std::format!("{after}");
    let pieces = ["use after free at 0x", "(a block of 100 bytes)", "allocated by", "0x5678"];
    assert!(pieces.iter().all(|piece| report.contains(piece)), "{report}");
    // The one slot without a block is the last: what is behind all others.
    let end = blocks.iter().map(|block| block.addr().get()).max().expect("three");
    let fault = heap.explain(end + SLOT + 2 * 4096).expect("in the pool");
    assert_eq!(fault.kind, FaultKind::Guard);
}

#[test]
fn the_rate_is_kept_in_the_mean() {
    let heap = heap();
    const EACH: usize = unless_miri(50, 10);
    RATE.with(|rate| rate.store(EACH as u32, Relaxed));
    let misses = unless_miri(20_000, 300);
    let mut sampled = 0;
    for _ in 0..misses {
        let block = alloc(heap, 64);
        sampled += usize::from(is_sampled(heap, block));
        free(heap, block);
    }
    let expected = misses / EACH;
    assert!(sampled > expected / 2 && sampled < expected * 2, "{sampled} of {misses}");
}

#[test]
fn who_checks_every_call_or_cannot_protect_samples_nothing() {
    let unable = heap_on::<Sampled>(4096, Capabilities::all() - Capabilities::PROTECT);
    let checked = heap_on::<Moderate>(4096, Capabilities::all());
    for _ in 0..10 {
        let block = alloc(unable, 64);
        assert!(!is_sampled(unable, block));
        free(unable, block);
        let block = alloc(checked, 64);
        assert!(!is_sampled(checked, block));
        free(checked, block);
    }
    let never = heap();
    RATE.with(|rate| rate.store(0, Relaxed));
    assert!(!is_sampled(never, alloc(never, 64)));
    RATE.with(|rate| rate.store(1, Relaxed));
    never.sampling_is_known();
    assert!(is_sampled(never, alloc(never, 64)));
}

#[test]
fn what_was_off_is_asked_for_again_at_a_tick() {
    let heap = heap();
    RATE.with(|rate| rate.store(0, Relaxed));
    let blocks: Vec<_> = (0..unless_miri(5000, 30)).map(|_| alloc(heap, 1000)).collect();
    assert!(blocks.iter().all(|&block| !is_sampled(heap, block)));
    RATE.with(|rate| rate.store(1, Relaxed));
    blocks.into_iter().for_each(|block| free(heap, block));
    let misses = |heap| (0..unless_miri(100, 20)).any(|_| is_sampled(heap, alloc(heap, 10_000)));
    assert!(!misses(heap), "not before a tick");
    for _ in 0..3 {
        advance(60);
        let blocks: Vec<_> = (0..unless_miri(200, 30)).map(|_| alloc(heap, 2000)).collect();
        blocks.into_iter().for_each(|block| free(heap, block));
    }
    assert!(misses(heap), "after a tick");
}

#[test]
fn what_is_refused_leaves_no_trace() {
    // Twice more than there are slots, each freed at once.
    let run = |heap: &Heap<Sampled>| {
        for _ in 0..2 * SLOTS {
            let block = alloc(heap, 100);
            // SAFETY: live, of that size.
            unsafe { block.write_bytes(1, 100) };
            free(heap, block);
        }
    };
    let calls = {
        let heap = heap();
        heap.provider().refuse(Refuse::Nothing);
        run(heap);
        heap.provider().calls()
    };
    assert!(calls > 10, "{calls}");
    for number in (0..calls).step_by(unless_miri(1, 7)) {
        let heap = heap();
        heap.provider().refuse(Refuse::Call(number));
        run(heap);
        heap.provider().refuse(Refuse::Nothing);
        let blocks: Vec<_> = (0..SLOTS).map(|_| alloc(heap, 100)).collect();
        assert!(blocks.iter().all(|&block| is_sampled(heap, block)), "call {number}");
        blocks.into_iter().for_each(|block| free(heap, block));
        heap.check().expect("sound");
    }
}

#[test]
fn slots_go_back_with_the_heap_and_come_again() {
    for refuse in [Refuse::Nothing, Refuse::Release] {
        migrate(0);
        RATE.with(|rate| rate.store(1, Relaxed));
        let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
        let mut heap = Heap::<Sampled>::new(arena, Guarded::new());
        for _ in 0..2 {
            let blocks = [(); SLOTS as usize].map(|()| alloc(&heap, 100));
            assert!(blocks.iter().all(|&block| is_sampled(&heap, block)));
            alloc(&heap, 5000);
            let reserved = heap.provider().reserved();
            heap.provider().refuse(refuse);
            let released = heap.release_all();
            heap.provider().refuse(Refuse::Nothing);
            match refuse {
                Refuse::Nothing => assert_eq!(released.expect("all"), reserved),
                _ => assert_eq!(released.expect_err("refused").bytes, reserved),
            }
        }
        heap.release_all().expect("all");
        assert_eq!(heap.provider().reserved(), 0);
    }
}

#[test]
fn slots_that_are_never_taken_back_are_used_again() {
    migrate(0);
    RATE.with(|rate| rate.store(1, Relaxed));
    let arena = Arena::new(4096, Capabilities::all() - Capabilities::RELEASE, 64 << 20);
    let mut heap = Heap::<Sampled>::new(arena, Guarded::new());
    let mut reserved = 0;
    for round in 0..4 {
        let blocks = [(); SLOTS as usize].map(|()| alloc(&heap, 100));
        assert!(blocks.iter().all(|&block| is_sampled(&heap, block)));
        let other = alloc(&heap, 5000);
        assert!(!is_sampled(&heap, other) && heap.contains(other.as_ptr()));
        // What is sampled is the heap's, too, though in no region.
        assert!(blocks.iter().all(|block| heap.contains(block.as_ptr())));
        assert!(blocks.iter().all(|block| heap.node_of(block.as_ptr()).is_none()));
        assert!(round == 0 || heap.provider().reserved() == reserved);
        reserved = heap.provider().reserved();
        assert_eq!(heap.release_all(), Ok(0));
    }
}

macro_rules! found {
    ($($name:ident: $expected:literal, |$heap:ident, $block:ident| $mistake:expr;)+) => {
        $(
            #[test]
            #[should_panic(expected = $expected)]
            fn $name() {
                let $heap = heap();
                let $block = alloc($heap, 100);
                // SAFETY: none: the mistake under test, found before it does
                // harm.
                unsafe { $mistake };
            }
        )+
    };
}

found! {
    a_double_free: "double free", |heap, block| {
        free(heap, block);
        heap.dealloc_missed(block, None, Caller::UNKNOWN);
    };
    a_double_free_without_a_caller: "double free", |heap, block| {
        heap.free(block);
        heap.free(block);
    };
    a_free_inside_a_block: "invalid pointer", |heap, block| heap.free(block.add(16));
    a_realloc_of_a_freed_block: "double free", |heap, block| {
        free(heap, block);
        heap.realloc_unsized(block, 10, Caller::UNKNOWN);
    };
    a_write_past_the_end_within_the_page: "past its end", |heap, block| {
        block.add(100).write(1);
        free(heap, block);
    };
}
