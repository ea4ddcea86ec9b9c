//! Makes heaps, uses them and ends them, granule's beside mimalloc's: nanoseconds
//! a round, the least of several, interleaved.
//!
//! ```sh
//! cargo run --release -p granule-peers --features granule,mimalloc --bin heaps
//! ```

use std::alloc::Layout;
use std::hint::black_box;
use std::time::Instant;

use granule::HostPages;
use granule::heap::{HeapBuilder, HeapError, LocalHeap, OwnedHeap};

/// How often each is measured.
const TURNS: usize = 15;

/// What a heap is used for before it ends: how many blocks, of sizes in turn.
const USES: [(&str, usize, &[usize]); 4] = [
    ("1 block of 64 bytes", 1, &[64]),
    ("100 blocks of 16 to 512 bytes", 100, &[16, 48, 64, 100, 200, 512]),
    ("10,000 blocks of 16 to 512 bytes", 10_000, &[16, 48, 64, 100, 200, 512]),
    ("20 blocks of 100,000 bytes", 20, &[100_000]),
];

/// Takes and touches the blocks, and leaves them.
fn use_up(count: usize, sizes: &[usize], alloc: impl Fn(usize) -> *mut u8) {
    for (_, &size) in (0..count).zip(sizes.iter().cycle()) {
        let block = black_box(alloc(size));
        assert!(!block.is_null());
        // SAFETY: live, and not empty.
        unsafe { block.write(1) };
    }
}

fn layout(size: usize) -> Layout {
    // SAFETY: 16 is a power of two, and sizes are small.
    unsafe { Layout::from_size_align_unchecked(size, 16) }
}

type Round = fn(usize, &[usize]) -> Result<(), HeapError>;

const KINDS: [(&str, Round); 4] = [
    ("mimalloc", |count, sizes| {
        // SAFETY: the heap is this thread's, and its blocks are used no more.
        unsafe {
            let heap = libmimalloc_sys::mi_heap_new();
            use_up(count, sizes, |size| libmimalloc_sys::mi_heap_malloc(heap, size).cast());
            libmimalloc_sys::mi_heap_destroy(heap);
        }
        Ok(())
    }),
    ("granule, process's", |count, sizes| {
        let heap = HeapBuilder::inside_process().build()?;
        use_up(count, sizes, |size| heap.alloc(layout(size)));
        Ok(())
    }),
    ("granule, system's", |count, sizes| {
        let heap = OwnedHeap::new()?;
        use_up(count, sizes, |size| heap.alloc(layout(size)));
        Ok(())
    }),
    ("granule, one thread's", |count, sizes| {
        let heap = LocalHeap::new(HostPages::for_heaps());
        use_up(count, sizes, |size| heap.alloc(layout(size)));
        Ok(())
    }),
];

fn main() -> Result<(), HeapError> {
    for (about, count, sizes) in USES {
        let rounds = (20_000 / count.max(10)).max(5);
        let mut least = [u128::MAX; KINDS.len()];
        for _ in 0..TURNS {
            for ((_, round), least) in KINDS.iter().zip(&mut least) {
                let start = Instant::now();
                (0..rounds).try_for_each(|_| round(count, sizes))?;
                *least = (*least).min(start.elapsed().as_nanos() / rounds as u128);
            }
        }
        println!("{about}");
        for ((kind, _), least) in KINDS.iter().zip(least) {
            println!("  {kind:24}{least:>10} ns");
        }
    }
    Ok(())
}
