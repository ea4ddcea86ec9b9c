//! From the early heap to granule.

extern crate std;

use std::vec::Vec;

use granule_core::cache::guarded::Guarded;
use granule_core::provider::NoPages;

use super::*;
use crate::{HostEnv, HostPages, ThreadCpu};

#[derive(Debug)]
struct Hosted;

impl Config for Hosted {
    type Pages = HostPages;
    type Front = Guarded<ThreadCpu, HostEnv, 256>;
    type Env = HostEnv;
}

#[derive(Debug)]
struct Empty;

impl Config for Empty {
    type Pages = NoPages;
    type Front = Guarded<ThreadCpu, HostEnv, 256>;
    type Env = HostEnv;
}

const EARLY: usize = 16 << 10;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

/// Allocates, and writes a pattern that depends on the size.
fn take<C: Config>(heap: &KernelHeap<C, EARLY>, size: usize) -> *mut u8 {
    // SAFETY: the size is not 0.
    let block = unsafe { heap.alloc(bytes(size)) };
    if !block.is_null() {
        // SAFETY: ours, of that size.
        unsafe { block.write_bytes(size as u8, size) };
    }
    block
}

fn holds(block: *mut u8, size: usize, pattern: u8) -> bool {
    // SAFETY: live, of at least that size.
    unsafe { core::slice::from_raw_parts(block, size) }.iter().all(|&byte| byte == pattern)
}

#[test]
fn early_blocks_live_on_after_the_switch() {
    static HEAP: KernelHeap<Hosted, EARLY> = KernelHeap::new(HostPages::new(), Guarded::new());
    let early: Vec<_> = (1..20).map(|n| (take(&HEAP, 24 * n), 24 * n)).collect();
    assert!(early.iter().all(|(block, _)| HEAP.early().owns(*block)));
    assert!(HEAP.early().used_bytes() > 0);
    assert!(take(&HEAP, EARLY).is_null(), "no room");
    // SAFETY: the size is not 0.
    let zeroed = unsafe { HEAP.alloc_zeroed(bytes(100)) };
    assert!(HEAP.early().owns(zeroed) && holds(zeroed, 100, 0));

    assert_eq!(HEAP.open(), Ok(()));
    assert_eq!(HEAP.open(), Err(OpenError::AlreadyOpen));
    let late = take(&HEAP, 100);
    assert!(!late.is_null() && !HEAP.early().owns(late));

    for (turn, (block, size)) in early.into_iter().enumerate() {
        assert!(holds(block, size, size as u8));
        if turn % 2 == 0 {
            // SAFETY: live, of that layout.
            let moved = unsafe { HEAP.realloc(block, bytes(size), 3 * size) };
            assert!(!HEAP.early().owns(moved) && holds(moved, size, size as u8));
            // SAFETY: as above.
            unsafe { HEAP.dealloc(moved, bytes(3 * size)) };
        } else {
            // SAFETY: as above.
            unsafe { HEAP.dealloc(block, bytes(size)) };
        }
    }
    // SAFETY: as above.
    unsafe {
        HEAP.dealloc(zeroed, bytes(100));
        HEAP.dealloc(late, bytes(100));
    }
    assert_eq!(HEAP.early().used_bytes(), 0, "every early block was freed");
    HEAP.heap().reclaim();
    assert_eq!(HEAP.heap().stats().live_bytes(), 0);
}

#[test]
fn early_blocks_grow_before_the_switch() {
    static HEAP: KernelHeap<Hosted, EARLY> = KernelHeap::new(HostPages::new(), Guarded::new());
    let block = take(&HEAP, 40);
    // SAFETY: live, of that layout.
    let grown = unsafe { HEAP.realloc(block, bytes(40), 4000) };
    assert!(HEAP.early().owns(grown) && holds(grown, 40, 40));
    // SAFETY: as above; refused, so the block stays.
    assert!(unsafe { HEAP.realloc(grown, bytes(4000), EARLY) }.is_null());
    assert!(holds(grown, 40, 40));
    // SAFETY: as above.
    unsafe { HEAP.dealloc(grown, bytes(4000)) };
    assert_eq!(HEAP.early().used_bytes(), 0);
}

#[test]
fn without_memory_it_stays_closed_and_early() {
    static HEAP: KernelHeap<Empty, EARLY> = KernelHeap::new(NoPages, Guarded::new());
    assert_eq!(HEAP.open(), Err(OpenError::TooLittleMemory));
    assert!(!HEAP.is_open());
    let block = take(&HEAP, 64);
    assert!(HEAP.early().owns(block));
}
