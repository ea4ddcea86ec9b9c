//! Collections in a heap, and the trait's corners.

use std::alloc::Layout;
use std::format;
use std::string::String;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use proptest::prelude::*;

use super::*;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, cases, unless_miri};
use crate::provider::Capabilities;

/// One byte of so many is written and read.
const STRIDE: usize = unless_miri(1, 61);

type Owned = OwnedHeap<TestConfig>;

fn heap(limit: usize) -> Owned {
    let arena = Arena::new(PAGE_SIZE, Capabilities::all(), limit).in_steps_of(limit / 2);
    OwnedHeap::new(arena, Guarded::new())
}

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).expect("a layout")
}

#[test]
fn collections_live_where_they_say() {
    const WORDS: usize = unless_miri(10_000, 200);
    let heap = heap(16 << 20);
    let mut words = Vec::new_in(&heap);
    for number in 0..WORDS {
        words.push(Box::new_in(format!("{number}"), &*heap));
    }
    let last: &String = words.last().expect("a word");
    assert!(heap.contains(std::ptr::from_ref(last).cast()) && *last == format!("{}", WORDS - 1));
    words.truncate(10);
    words.shrink_to_fit();
    assert_eq!(words.capacity(), 10);
    drop(words);
    heap.reclaim();
    assert_eq!(heap.stats().live_bytes(), 0);
}

#[test]
fn what_cannot_be_had_is_an_error() {
    let heap = heap(1 << 20);
    let heap: &Heap<TestConfig> = &heap;
    assert!(heap.allocate(layout(2 << 20, 8)).is_err());
    let block = heap.allocate(layout(64, 8)).expect("memory").cast::<u8>();
    // SAFETY: 64 bytes.
    unsafe { block.write_bytes(7, 64) };
    // SAFETY: live, of that layout; refused, so it stays.
    unsafe {
        assert!(heap.grow(block, layout(64, 8), layout(4 << 20, 8)).is_err());
        assert_eq!(block.add(63).read(), 7);
        heap.deallocate(block, layout(64, 8));
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Blocks keep their contents through any change of size and alignment,
    /// and what is added is zero where that is asked for.
    #[test]
    fn contents_stay_whatever_the_layout_becomes(
        steps in proptest::collection::vec((0usize..70_000, 0u32..8, any::<bool>()), 1..12),
    ) {
        let owned = heap(16 << 20);
        let heap: &Heap<TestConfig> = &owned;
        let mut old = layout(0, 1);
        let mut block = heap.allocate(old).expect("nothing").cast::<u8>();
        let mut known = 0;
        for (bytes, shift, zeroed) in steps {
            let new = layout(bytes, 1 << shift);
            // SAFETY: live, of the layout `old`; the sizes as the names say.
            let changed = unsafe {
                if bytes < old.size() {
                    heap.shrink(block, old, new)
                } else if zeroed {
                    heap.grow_zeroed(block, old, new)
                } else {
                    heap.grow(block, old, new)
                }
            };
            block = changed.expect("memory").cast();
            prop_assert!(block.addr().get().is_multiple_of(new.align()));
            known = known.min(bytes);
            // SAFETY: asked for bytes of the block that have been written.
            let byte = |at| unsafe { block.add(at).read() };
            let same = (0..known).step_by(STRIDE).all(|at| byte(at) == at as u8);
            prop_assert!(same);
            if zeroed && bytes >= old.size() {
                // Written by the call.
                let zero = (old.size()..bytes).step_by(STRIDE).all(|at| byte(at) == 0);
                prop_assert!(zero);
            }
            // SAFETY: all of the block.
            (0..bytes).step_by(STRIDE).for_each(|at| unsafe { block.add(at).write(at as u8) });
            (old, known) = (new, bytes);
        }
        // SAFETY: live, of that layout.
        unsafe { heap.deallocate(block, old) };
        heap.reclaim();
        prop_assert_eq!(heap.stats().live_bytes(), 0);
    }
}
