//! Batches against single calls, and when memory is short.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, advance, cases, for_ever, unless_miri};
use crate::provider::Capabilities;

const MIB: usize = 1 << 20;
/// In a batch.
const MOST: usize = unless_miri(300, 40);

fn heap(limit: usize) -> &'static Heap<TestConfig> {
    let arena = Arena::new(PAGE_SIZE, Capabilities::all(), limit).in_steps_of(limit / 2);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).expect("a layout")
}

fn batch(heap: &Heap<TestConfig>, layout: Layout, count: usize) -> Vec<NonNull<u8>> {
    let mut blocks = vec![MaybeUninit::uninit(); count];
    let filled = heap.alloc_batch(layout, &mut blocks);
    // SAFETY: so many were written.
    blocks[..filled].iter().map(|block| unsafe { block.assume_init() }).collect()
}

proptest! {
    #![proptest_config(cases(40))]

    /// Blocks of batches are distinct, as large as asked, and may be freed
    /// together, alone, and in parts.
    #[test]
    fn batches_are_blocks_as_any_other(
        rounds in proptest::collection::vec((8usize..40_000, 0..MOST, 0..MOST), 1..unless_miri(8, 4)),
    ) {
        let heap = heap(64 * MIB);
        let mut kept = Vec::new();
        for (bytes, count, alone) in rounds {
            let layout = layout(bytes);
            let mut blocks = batch(heap, layout, count);
            prop_assert_eq!(blocks.len(), count);
            let starts: BTreeSet<_> = blocks.iter().map(|block| block.addr().get()).collect();
            let distinct = starts.iter().zip(starts.iter().skip(1)).all(|(a, b)| b - a >= bytes);
            prop_assert!(starts.len() == count && distinct);
            for (number, block) in blocks.iter().enumerate() {
                // SAFETY: live, and of that size.
                unsafe { block.write_bytes(number as u8, bytes) };
            }
            for (number, block) in blocks.iter().enumerate() {
                // SAFETY: as above.
                prop_assert_eq!(unsafe { block.add(bytes - 1).read() }, number as u8);
            }
            for block in blocks.drain(..alone.min(count)) {
                // SAFETY: live, and of that layout.
                unsafe { heap.dealloc(block, layout) };
            }
            let rest = blocks.split_off(blocks.len() / 2);
            // SAFETY: live, and of that layout.
            unsafe { heap.dealloc_batch(&rest, layout) };
            kept.push((blocks, layout));
            prop_assert!(heap.check().is_ok());
        }
        for (blocks, layout) in kept {
            // SAFETY: live, and of that layout.
            unsafe { heap.dealloc_batch(&blocks, layout) };
        }
        heap.reclaim();
        prop_assert_eq!(heap.stats().live_bytes(), 0);
    }
}

#[test]
fn a_batch_is_short_when_memory_is() {
    let heap = heap(2 * MIB);
    const EACH: usize = unless_miri(1 << 10, 8 << 10);
    let layout = layout(EACH);
    let blocks = batch(heap, layout, 4 * MIB / EACH);
    assert!((MIB / EACH..2 * MIB / EACH).contains(&blocks.len()), "{} blocks", blocks.len());
    assert!(heap.alloc(layout).is_null());
    // SAFETY: live, and of that layout.
    unsafe { heap.dealloc_batch(&blocks, layout) };
    heap.reclaim();
    assert_eq!(heap.stats().live_bytes(), 0);
    assert_eq!(batch(heap, layout, MIB / EACH).len(), MIB / EACH);
}

#[test]
fn no_size_is_too_large_to_be_refused() {
    let heap = heap(2 * MIB);
    assert_eq!(batch(heap, layout(isize::MAX as usize - 7), 3).len(), 0);
    assert_eq!(batch(heap, layout(64), 0).len(), 0);
}

/// Nor any alignment, and what is cached stays so: no reclaim could help.
#[cfg(target_pointer_width = "64")]
#[test]
fn no_alignment_is_too_large_to_be_refused() {
    let heap = heap(2 * MIB);
    let block = batch(heap, layout(64), 1);
    // SAFETY: live, and of that layout.
    unsafe { heap.dealloc_batch(&block, layout(64)) };
    let cached = heap.stats().cached_bytes;
    for shift in 43..62 {
        let layout = Layout::from_size_align(16, 1 << shift).expect("a layout");
        assert!(heap.alloc(layout).is_null());
    }
    assert!(cached > 0 && heap.stats().cached_bytes == cached, "{cached}");
}

/// Frees in batches look for what is idle, as single ones do.
#[test]
fn what_is_idle_goes_where_all_is_done_in_batches() {
    let heap = heap(64 * MIB);
    const EACH: usize = unless_miri(1 << 10, 8 << 10);
    let layout = layout(EACH);
    let give = |blocks: Vec<_>| {
        // SAFETY: all of that layout, and live.
        unsafe { heap.dealloc_batch(&blocks, layout) };
    };
    let most = unless_miri(16, 2) * MIB;
    give(batch(heap, layout, most / EACH));
    let few = unless_miri(200, 20);
    for _ in 0..unless_miri(200, 20) {
        advance(50);
        give(batch(heap, layout, few));
    }
    let left = heap.stats().resident_free_bytes;
    assert!(left < most / 4, "{left} bytes stay");
    heap.check().expect("sound");
}
