//! Heaps on memory that is added at run time.

use std::alloc::Layout;
use std::vec::Vec;

use super::Heap;
use crate::base::bytes::is_all;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::Fault;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::{Cpu, Guarded};
use crate::check::surroundings::{for_ever, keep, unless_miri};
use crate::provider::NoPages;
use core::ptr::NonNull;

struct OneCpu;

// SAFETY: every test uses its heap from one thread.
unsafe impl Cpu for OneCpu {
    type Guard = ();

    fn try_enter() -> Option<(usize, ())> {
        Some((0, ()))
    }

    fn quiesce(_cpu: usize) -> bool {
        true
    }
}

struct TestEnv;

// SAFETY: nothing allocates from the heap under test, or nests.
unsafe impl Environment for TestEnv {
    type Exclusion = ();

    fn exclude() {}

    fn wait(_spins: u32) {
        std::thread::yield_now();
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        panic!("{fault}")
    }
}

struct Added;

impl Config for Added {
    type Pages = NoPages;
    type Front = Guarded<OneCpu, TestEnv, 1>;
    type Env = TestEnv;
}

fn heap() -> Heap<Added> {
    Heap::new(NoPages, Guarded::new())
}

/// Memory of the test's, full of ones, never given back.
fn memory(pages: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a layout");
    // SAFETY: the layout is not empty.
    let start = NonNull::new(unsafe { std::alloc::alloc(layout) }).expect("memory");
    // SAFETY: just allocated.
    unsafe { start.write_bytes(0xff, layout.size()) };
    keep(start);
    start
}

#[test]
fn an_empty_heap_has_nothing() {
    let heap = heap();
    assert!(heap.alloc(Layout::new::<u64>()).is_null());
    assert!(heap.alloc(Layout::new::<[u64; 10_000]>()).is_null());
    assert_eq!(heap.stats().reserved, 0);
}

#[test]
fn too_little_memory_is_refused_and_a_little_is_enough() {
    let heap = heap();
    // SAFETY: the memory is the heap's for ever.
    unsafe {
        assert!(heap.add_region(memory(1), PAGE_SIZE).is_err());
        assert!(heap.add_region(memory(1), 100).is_err());
        // One page of tables, four for the slot, nine for the block.
        assert!(heap.add_region(memory(14), 14 * PAGE_SIZE).is_ok());
    }
    let size = 9 * PAGE_SIZE;
    let block = heap.alloc_zeroed(Layout::from_size_align(size, 8).expect("a layout"));
    assert!(!block.is_null());
    // SAFETY: the block is that large.
    assert!(is_all(unsafe { std::slice::from_raw_parts(block, size) }, 0));
    assert!(heap.alloc(Layout::new::<[u8; PAGE_SIZE * 9]>()).is_null());
}

/// More regions than a page of the directory has entries for, each filled
/// with runs and slabs, everything found again from its address alone.
#[test]
fn any_number_of_regions_in_any_order() {
    const REGIONS: usize = unless_miri(300, 15);
    // In Miri with room for one slab beside the large blocks.
    const PAGES: usize = unless_miri(32, 28);
    let heap = for_ever(heap());
    let mut pieces: Vec<_> = (0..REGIONS).map(|_| memory(PAGES)).collect();
    // Neither ascending nor descending.
    pieces.sort_by_key(|piece| piece.addr().get().wrapping_mul(0x9e37_79b1));
    for piece in pieces {
        // SAFETY: the memory is the heap's for ever.
        unsafe { heap.add_region(piece, PAGES * PAGE_SIZE) }.expect("room");
    }
    assert_eq!(heap.stats().regions, REGIONS);

    let mut blocks = Vec::new();
    for size in [10 * PAGE_SIZE + 1, unless_miri(700, 1024)] {
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let before = blocks.len();
        while let Some(block) = NonNull::new(heap.alloc(layout)) {
            assert!(heap.usable_size(block) >= Some(size));
            // SAFETY: the block is live and that large.
            unsafe { block.write_bytes(blocks.len() as u8, size) };
            blocks.push((block, size));
        }
        assert!(blocks.len() > before, "{size}");
    }
    for (number, (block, size)) in blocks.into_iter().enumerate() {
        // SAFETY: live, and that large; freed once.
        unsafe {
            assert_eq!(
                (*block.as_ptr(), *block.as_ptr().add(size - 1)),
                (number as u8, number as u8)
            );
            heap.free(block);
        }
    }
    assert_eq!(heap.stats().live_bytes(), 0);
    // Two pages are the directory's, which has room for 127 regions itself.
    assert!(heap.stats().own_bytes > 2 * PAGE_SIZE);
    heap.reclaim();
    heap.check().expect("a whole heap");
    let stats = heap.stats();
    assert_eq!((stats.cached_bytes, stats.slab_bytes), (0, 0));
    // All of it is there again, as large runs.
    let layout = Layout::from_size_align(20 * PAGE_SIZE, 8).expect("a layout");
    let again = std::iter::from_fn(|| NonNull::new(heap.alloc(layout))).count();
    assert!(again >= REGIONS - unless_miri(20, 5), "{again}");
}

#[test]
fn several_heaps_share_nothing() {
    let (one, two) = (heap(), heap());
    let layout = Layout::new::<[u64; 20]>();
    // SAFETY: each memory is its heap's for ever.
    unsafe {
        one.add_region(memory(16), 16 * PAGE_SIZE).expect("room");
        two.add_region(memory(16), 16 * PAGE_SIZE).expect("room");
    }
    let block = NonNull::new(one.alloc(layout)).expect("memory");
    assert_eq!((one.stats().live_bytes(), two.stats().live_bytes()), (160, 0));
    assert_eq!((one.usable_size(block), two.usable_size(block)), (Some(160), None));
    // SAFETY: live, of that heap and layout.
    unsafe { one.dealloc(block, layout) };
    assert_eq!(one.stats().live_bytes(), 0);
}
