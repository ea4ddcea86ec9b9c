//! What goes back, and when.

use std::alloc::Layout;
use std::vec::Vec;

use core::ptr::NonNull;

use super::*;
use crate::base::env::Environment;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, TestEnv, advance, for_ever, unless_miri};

/// A kibibyte: four to a page, in slabs of four pages.
const KIB: Layout = Layout::new::<[u64; 128]>();
/// What megabytes consist of: fewer blocks in Miri. In slabs of `SLAB` bytes, of
/// which the first `FIRST` stay in use.
const BLOCK: Layout = if cfg!(miri) { Layout::new::<[u64; 4096]>() } else { KIB };
const SLAB: usize = unless_miri(16 << 10, 256 << 10);
const FIRST: usize = unless_miri(4096, BLOCK.size());
const MIB: usize = 1 << 20;
/// Much: several times what may be in excess.
const MUCH: usize = unless_miri(8 * MIB, 2 * MIB);

/// A [`TestConfig`], in Miri with less slack.
struct Slack;

impl Config for Slack {
    type Pages = <TestConfig as Config>::Pages;
    type Front = <TestConfig as Config>::Front;
    type Env = TestEnv;

    const LIMITS: Limits = Limits { excess_min: MUCH / 4, ..TestConfig::LIMITS };
}

fn heap() -> &'static Heap<Slack> {
    let can = Capabilities::all() - Capabilities::HUGE;
    for_ever(Heap::new(Arena::new(4096, can, 64 * MIB).in_steps_of(48 * MIB), Guarded::new()))
}

fn take(heap: &Heap<Slack>, layout: Layout, bytes: usize) -> Vec<NonNull<u8>> {
    let take = |at| {
        let block = NonNull::new(heap.alloc(layout)).expect("memory");
        // SAFETY: the block is ours.
        unsafe { block.cast::<usize>().write(at) };
        block
    };
    (0..bytes / layout.size()).map(take).collect()
}

/// Frees all blocks but each of the slabs' first and, with it, the first pages. Returns those,
/// with their numbers.
fn thin_out(heap: &Heap<Slack>, blocks: &[NonNull<u8>]) -> Vec<(usize, NonNull<u8>)> {
    let is_first = |block: &NonNull<u8>| block.addr().get() % SLAB < FIRST;
    for block in blocks.iter().filter(|block| !is_first(block)) {
        // SAFETY: the block is ours.
        unsafe { heap.dealloc(*block, BLOCK) };
    }
    heap.cache.drain_all(&heap.lower);
    blocks.iter().copied().enumerate().filter(|(_, block)| is_first(block)).collect()
}

fn look(heap: &Heap<Slack>, ms: u32) {
    advance(ms);
    heap.tick(TestEnv::now_ms());
}

fn free(heap: &Heap<Slack>, layout: Layout, kept: &[(usize, NonNull<u8>)]) {
    for (at, block) in kept {
        // SAFETY: the block is ours.
        assert_eq!(unsafe { block.cast::<usize>().read() }, *at, "untouched");
        // SAFETY: as above.
        unsafe { heap.dealloc(*block, layout) };
    }
}

#[test]
fn pages_of_slabs_go_back_after_the_delay() {
    let heap = heap();
    look(heap, 1000);
    let kept = thin_out(heap, &take(heap, BLOCK, MUCH / 8));
    let delay = Slack::LIMITS.purge_delay_ms;
    for _ in 0..delay / LOOK_MS {
        look(heap, LOOK_MS);
        assert_eq!(heap.lower.provider.purged(), 0, "before its time");
    }
    (0..TICK_MS.div_ceil(LOOK_MS)).for_each(|_| look(heap, LOOK_MS));
    let purged = heap.stats().slab_purged_bytes;
    assert!(purged > MUCH / 16 && heap.lower.provider.purged() >= purged, "{purged}");
    heap.check().expect("a whole heap");
    free(heap, BLOCK, &kept);
    heap.check().expect("a whole heap");
}

#[test]
fn what_is_more_than_was_in_use_goes_back_at_once() {
    let heap = heap();
    look(heap, 1000);
    let kept = thin_out(heap, &take(heap, BLOCK, MUCH));
    (0..2).for_each(|_| look(heap, LOOK_MS));
    assert_eq!(heap.lower.provider.purged(), 0, "no more than was in use at once");
    // As much again of another size.
    let other = Layout::new::<[u64; unless_miri(512, 2048)]>();
    let more: Vec<_> = (0..MUCH / other.size()).map(|_| heap.alloc(other)).collect();
    (0..3).for_each(|_| look(heap, LOOK_MS));
    let stats = heap.stats();
    let (limits, live) = (Slack::LIMITS, MUCH / 4 * 5);
    let limit = live + (live / 4).max(limits.excess_min);
    assert!(stats.slab_purged_bytes > 0, "beyond that it goes");
    let resident = stats.slab_bytes + stats.resident_free_bytes - stats.slab_purged_bytes;
    assert!(resident <= limit + MUCH / 8, "{resident}");
    heap.check().expect("a whole heap");
    free(heap, BLOCK, &kept);
    for block in more {
        let block = NonNull::new(block).expect("memory");
        // SAFETY: the block is ours.
        unsafe { heap.dealloc(block, other) };
    }
    heap.check().expect("a whole heap");
}

#[test]
fn what_is_freed_and_taken_again_stays() {
    let heap = heap();
    look(heap, 1000);
    for _ in 0..unless_miri(4, 2) {
        let blocks = take(heap, BLOCK, MUCH);
        // The first free that misses sees what is in use.
        look(heap, LOOK_MS);
        free(heap, BLOCK, &blocks.into_iter().enumerate().collect::<Vec<_>>());
        heap.cache.drain_all(&heap.lower);
        look(heap, LOOK_MS);
    }
    assert_eq!(heap.lower.provider.purged(), 0);
}

#[test]
fn what_is_idle_goes_though_some_of_it_comes_and_goes() {
    let heap = heap();
    // Too large to be cached: each comes from where the others were, and goes there.
    let large = Layout::new::<[u64; 6 * MIB / 8]>();
    let blocks = take(heap, large, 24 * MIB);
    free(heap, large, &blocks.into_iter().enumerate().collect::<Vec<_>>());
    assert!(heap.stats().resident_free_bytes >= 24 * MIB);
    for _ in 0..2 * Slack::LIMITS.purge_delay_ms / LOOK_MS {
        advance(LOOK_MS);
        free(heap, large, &[(0, take(heap, large, 6 * MIB)[0])]);
    }
    let left = heap.stats().resident_free_bytes;
    assert!(left <= 6 * MIB, "{left} bytes have memory behind them");
}

/// A program that only grows what it has, and shrinks it.
#[test]
fn what_is_idle_goes_though_nothing_is_freed() {
    let heap = heap();
    let large = Layout::new::<[u64; 6 * MIB / 8]>();
    let kept = take(heap, large, 6 * MIB)[0];
    let blocks = take(heap, large, 12 * MIB);
    free(heap, large, &blocks.into_iter().enumerate().collect::<Vec<_>>());
    assert!(heap.stats().resident_free_bytes >= 12 * MIB);
    for size in [large.size() / 2, large.size()] {
        advance(TestConfig::LIMITS.purge_delay_ms);
        let old = Layout::from_size_align(large.size() * 3 / 2 - size, 8).expect("a layout");
        // SAFETY: the block is ours, of that layout.
        let block = unsafe { heap.realloc(kept, old, size) };
        assert_eq!(block, kept.as_ptr(), "there is room where it is");
    }
    let left = heap.stats().resident_free_bytes;
    assert!(left <= MIB, "{left} bytes have memory behind them");
    free(heap, large, &[(0, kept)]);
}

#[test]
fn looks_are_left_out_where_walks_find_little() {
    let looks = Looks::new();
    assert!(looks.is_worth_a_walk(MIB));
    looks.note(MIB, 0, MIB);
    assert!(!looks.is_worth_a_walk(MIB) && looks.is_worth_a_walk(MIB));
    looks.note(MIB, 0, MIB);
    assert!(looks.is_worth_a_walk(2 * MIB), "there is more than before");
    assert!((0..2).all(|_| !looks.is_worth_a_walk(MIB)) && looks.is_worth_a_walk(MIB));
    looks.note(MIB, MIB, MIB);
    assert!(looks.is_worth_a_walk(MIB));
    (0..9).for_each(|_| looks.note(MIB, 0, MIB));
    assert_eq!((0..100).take_while(|_| !looks.is_worth_a_walk(MIB)).count(), PAUSE_MAX as usize);
}

#[test]
fn reclaim_takes_single_pages_too() {
    let heap = heap();
    const BYTES: usize = unless_miri(MIB, MIB / 4);
    let blocks = take(heap, KIB, BYTES);
    let every_other = |block: &NonNull<u8>| (block.addr().get() / 4096).is_multiple_of(2);
    for block in blocks.iter().filter(|block| !every_other(block)) {
        // SAFETY: the block is ours.
        unsafe { heap.dealloc(*block, KIB) };
    }
    assert!(heap.reclaim() >= BYTES / 2 - (64 << 10));
    assert_eq!(heap.reclaim(), 0, "once");
    heap.check().expect("a whole heap");
    let kept = blocks.into_iter().enumerate().filter(|(_, block)| every_other(block));
    free(heap, KIB, &kept.collect::<Vec<_>>());
    heap.check().expect("a whole heap");
}
