//! Sampled blocks of Rust's door: found by a free that is told a layout.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use super::pool::SLOT;
use super::tests::{SLOTS, Sampled, heap, heap_on, is_sampled};
use crate::base::bytes::is_all;
use crate::base::fault::FaultKind;
use crate::check::surroundings::unless_miri;
use crate::heap::Heap;
use crate::provider::Capabilities;

/// Sizes that are sampled, at the ends of what cuts them.
const SIZES: [usize; 8] = [1025, 1500, 2048, 4080, 4096, 5000, 16_320, 16_368];

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

fn alloc(heap: &Heap<Sampled>, layout: Layout) -> NonNull<u8> {
    NonNull::new(heap.alloc(layout)).expect("memory")
}

fn dealloc(heap: &Heap<Sampled>, block: NonNull<u8>, layout: Layout) {
    // SAFETY: callers pass live blocks, or make the mistake under test.
    unsafe { heap.dealloc(block, layout) };
}

#[test]
fn blocks_lie_where_no_object_of_a_class_does() {
    for page in [4096, 16 << 10, 64 << 10] {
        let heap = heap_on::<Sampled>(page, Capabilities::all());
        for round in 0..unless_miri(200, 16) {
            let layout = layout(SIZES[round % SIZES.len()], 1 << (round % 5));
            let block = alloc(heap, layout);
            assert!(is_sampled(heap, block), "{layout:?}");
            let address = block.addr().get();
            assert!(address.is_multiple_of(16) && !address.is_multiple_of(64), "{address:x}");
            // SAFETY: live, of that size.
            unsafe { block.write_bytes(round as u8, layout.size()) };
            dealloc(heap, block, layout);
            assert_eq!(
                heap.explain(address).map(|fault| fault.kind),
                Some(FaultKind::UsedAfterFree)
            );
        }
        heap.check().expect("sound");
    }
}

#[test]
fn others_are_ordinary() {
    let heap = heap();
    for other in [layout(1024, 16), layout(2048, 32), layout(SLOT - 15, 1), layout(SLOT + 1, 8)] {
        let block = alloc(heap, other);
        assert!(!is_sampled(heap, block), "{other:?}");
        dealloc(heap, block, other);
    }
    let zero = NonNull::new(heap.alloc_zeroed(layout(3000, 8))).expect("memory");
    assert!(is_sampled(heap, zero));
    // SAFETY: live, of that size.
    let all = unsafe { core::slice::from_raw_parts(zero.as_ptr(), 3000) };
    assert!(is_all(all, 0));
}

#[test]
fn blocks_grow_and_shrink_out_of_their_slots() {
    // Up to 1 KiB, and above 16, nothing is sampled.
    for (new_size, again) in [(100, false), (1999, true), (2001, true), (70_000, false)] {
        let heap = heap();
        let old = layout(2000, 4);
        let block = alloc(heap, old);
        // SAFETY: live, as long as said; the old pointer is not used again.
        unsafe {
            block.write_bytes(7, 2000);
            let moved = NonNull::new(heap.realloc(block, old, new_size)).expect("memory");
            assert_eq!(is_sampled(heap, moved), again, "{new_size}");
            let kept = core::slice::from_raw_parts(moved.as_ptr(), new_size.min(2000));
            assert!(is_all(kept, 7));
            heap.dealloc(moved, layout(new_size, 4));
        }
        let fault = heap.explain(block.addr().get()).expect("in the pool");
        assert_eq!(fault.kind, FaultKind::UsedAfterFree);
    }
}

#[test]
fn a_block_that_moves_is_sampled_where_it_moves_to() {
    let heap = heap();
    let old = layout(1000, 8);
    let block = alloc(heap, old);
    assert!(!is_sampled(heap, block));
    // SAFETY: live, as long as said; the old pointer is not used again.
    unsafe {
        block.write_bytes(7, 1000);
        let moved = NonNull::new(heap.realloc(block, old, 3000)).expect("memory");
        assert!(is_sampled(heap, moved));
        let kept = core::slice::from_raw_parts(moved.as_ptr(), 1000);
        assert!(kept.iter().all(|&byte| byte == 7));
        heap.dealloc(moved, layout(3000, 8));
        let fault = heap.explain(moved.addr().get()).expect("in the pool");
        assert_eq!((fault.kind, fault.size), (FaultKind::UsedAfterFree, Some(3000)));
    }
    heap.check().expect("sound");
}

type FreeAll = fn(&Heap<Sampled>, &[NonNull<u8>], Layout);

/// A free that may not wait, and one of many at once.
#[test]
fn every_free_by_layout_finds_them() {
    let heap = heap();
    let layout = layout(1500, 1);
    let frees: [FreeAll; 2] = [
        |heap, blocks, layout| {
            for &block in blocks {
                // SAFETY: live, of that layout.
                unsafe { heap.dealloc_nolock(block, layout) };
            }
            heap.free_deferred();
        },
        // SAFETY: live, of that layout, none twice.
        |heap, blocks, layout| unsafe { heap.dealloc_batch(blocks, layout) },
    ];
    for free in frees {
        // More than a batch has to be to go past the cache.
        let blocks: Vec<_> = (0..40).map(|_| alloc(heap, layout)).collect();
        let sampled = blocks.iter().filter(|&&block| is_sampled(heap, block)).count();
        assert_eq!(sampled, SLOTS as usize);
        free(heap, &blocks, layout);
        heap.check().expect("no sampled block in a cache");
        assert_eq!(heap.stats().live_bytes(), 0);
        // Of another class: one of this one would hit.
        let other = self::layout(3000, 1);
        let again = alloc(heap, other);
        assert!(is_sampled(heap, again), "a slot came back");
        dealloc(heap, again, other);
    }
}

macro_rules! found {
    ($($name:ident: $expected:literal, |$heap:ident, $block:ident, $layout:ident| $mistake:expr;)+) => {
        $(
            #[test]
            #[should_panic(expected = $expected)]
            fn $name() {
                let $heap = heap();
                let $layout = layout(2001, 1);
                let $block = alloc($heap, $layout);
                // SAFETY: none: the mistake under test, found before it does
                // harm.
                unsafe { $mistake };
            }
        )+
    };
}

found! {
    a_double_free: "double free", |heap, block, layout| {
        heap.dealloc(block, layout);
        heap.dealloc(block, layout);
    };
    a_free_inside_a_block: "invalid pointer", |heap, block, layout| {
        heap.dealloc(block.add(1), layout);
    };
    a_realloc_of_a_freed_block: "double free", |heap, block, layout| {
        heap.dealloc(block, layout);
        heap.realloc(block, layout, 10);
    };
    a_write_past_the_end_within_the_page: "past its end", |heap, block, layout| {
        block.add(2001).write(1);
        heap.dealloc(block, layout);
    };
    a_write_before_the_start_within_the_page: "before its start", |heap, block, layout| {
        // Of a block that lies first 16 bytes are before it, of the last one more.
        block.sub(1).write(1);
        heap.dealloc(block, layout);
    };
    a_pointer_that_no_class_has: "invalid pointer", |heap, block, layout| {
        let other = heap.alloc(self::layout(3000, 32));
        let _ = block;
        heap.dealloc(NonNull::new(other.add(16)).expect("memory"), layout);
    };
}
