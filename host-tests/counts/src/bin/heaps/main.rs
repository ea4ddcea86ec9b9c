//! Hits of heaps besides the process's, for somebody who counts instructions, as
//! `granule-hits` has those of the process's heap: a program of its own, because
//! the compiler makes shorter code of functions that have one caller.
//!
//! ```text
//! granule-heaps DOOR HITS     DOOR: scoped, owned or local
//! ```

use anyhow::{Context, Result, bail};
use granule::heap::{Heap, LocalHeap, OwnedHeap, Scoped};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::ptr::NonNull;

/// Bytes of every block.
const SIZE: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [door, hits] = &args[..] else { bail!("usage: granule-heaps DOOR HITS") };
    let hits: usize = hits.parse().context("a number")?;
    match &**door {
        "scoped" => scoped(hits),
        "owned" => owned(hits)?,
        "local" => local(hits),
        _ => bail!("there is no door {door}"),
    }
    Ok(())
}

/// The block; there is nothing to count without.
fn present(block: *mut u8) -> NonNull<u8> {
    NonNull::new(black_box(block)).expect("memory for one block")
}

fn layout(size: usize) -> Layout {
    // SAFETY: 16 is a power of two, and `SIZE` is small.
    unsafe { Layout::from_size_align_unchecked(size, 16) }
}

/// Defines the counted functions of a kind of heap, which is handed to them.
macro_rules! counted {
    ($heap:ty, $alloc:ident, $dealloc:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $alloc(heap: &$heap, size: usize) -> *mut u8 {
            heap.alloc(layout(size))
        }

        /// # Safety
        ///
        /// Caller: `block` is live, of that heap and size.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $dealloc(heap: &$heap, block: NonNull<u8>, size: usize) {
            // SAFETY: by the contract.
            unsafe { heap.dealloc(block, layout(size)) }
        }
    };
}

counted!(Heap, counted_owned_alloc, counted_owned_dealloc);
counted!(LocalHeap, counted_local_alloc, counted_local_dealloc);

fn owned(hits: usize) -> Result<()> {
    let heap = OwnedHeap::new()?;
    for _ in 0..hits {
        let size = black_box(SIZE);
        let block = present(counted_owned_alloc(&heap, size));
        // SAFETY: just taken, with this size.
        unsafe { counted_owned_dealloc(&heap, block, size) };
    }
    Ok(())
}

fn local(hits: usize) {
    let heap = LocalHeap::new(granule::HostPages::for_heaps());
    for _ in 0..hits {
        let size = black_box(SIZE);
        let block = present(counted_local_alloc(&heap, size));
        // SAFETY: just taken, with this size.
        unsafe { counted_local_dealloc(&heap, block, size) };
    }
}

/// The process's heap through the door that may lead elsewhere.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn counted_scoped_alloc(size: usize) -> *mut u8 {
    // SAFETY: the layout is not empty.
    unsafe { Scoped::new().alloc(layout(size)) }
}

/// # Safety
///
/// Caller: `block` is live and of that size.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn counted_scoped_dealloc(block: NonNull<u8>, size: usize) {
    // SAFETY: by the contract.
    unsafe { Scoped::new().dealloc(block.as_ptr(), layout(size)) }
}

fn scoped(hits: usize) {
    for _ in 0..hits {
        let size = black_box(SIZE);
        let block = present(counted_scoped_alloc(size));
        // SAFETY: just taken, with this size.
        unsafe { counted_scoped_dealloc(block, size) };
    }
}
