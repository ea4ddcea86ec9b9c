//! Batches against single calls.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use granule::process_heap;

use crate::{Contest, Way};

/// Blocks a batch has.
const EACH: usize = 1000;

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

pub(crate) fn contests() -> Vec<Contest> {
    let mut blocks = vec![MaybeUninit::<NonNull<u8>>::uninit(); EACH];
    let mut single = vec![std::ptr::null_mut(); EACH];
    vec![Contest {
        about: "1,000 blocks of 64 bytes taken, then freed",
        times: 2_000,
        ways: vec![
            Way::ours("alloc_batch, dealloc_batch", move |times| {
                for _ in 0..times {
                    let filled = process_heap().alloc_batch(LAYOUT, &mut blocks);
                    let blocks: Vec<_> = blocks[..filled]
                        .iter()
                        // SAFETY: written by the call.
                        .map(|block| unsafe { block.assume_init() })
                        .collect();
                    // SAFETY: live, of that layout.
                    unsafe { process_heap().dealloc_batch(black_box(&blocks), LAYOUT) };
                }
            }),
            Way::other("alloc, dealloc", move |times| {
                for _ in 0..times {
                    for block in &mut single {
                        // SAFETY: not of size 0.
                        *block = unsafe { alloc(LAYOUT) };
                    }
                    for &block in black_box(&single) {
                        // SAFETY: live, of that layout.
                        unsafe { dealloc(block, LAYOUT) };
                    }
                }
            }),
        ],
    }]
}
