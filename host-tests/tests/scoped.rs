//! Rust's global allocator, led to other heaps for a while.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use granule::heap::{
    HeapBuilder, OwnedHeap, Owner, Scoped, owner_of, with_heap, with_heap_borrowed,
};

#[global_allocator]
static GLOBAL: Scoped = Scoped::new();

fn owner<T>(of: &[T]) -> Option<Owner> {
    owner_of(of.as_ptr().cast())
}

#[test]
fn what_is_allocated_inside_is_the_heaps_and_goes_back_from_anywhere() {
    let made = OwnedHeap::new().expect("memory");
    let id = Some(Owner::Heap(made.id()));
    let heap = made.leak();
    for length in [1usize, 50, 1000, 10_000, 100_000, 1_000_000] {
        let before = vec![1u32; length];
        let mut inside = with_heap(heap, || {
            let inside = vec![2u32; length];
            // Freed inside, though it is the process's.
            drop(vec![0u8; 10]);
            inside
        });
        assert_eq!((owner(&before), owner(&inside)), (Some(Owner::Process), id));
        // It grows where it is, also outside.
        inside.extend_from_slice(&before);
        assert_eq!(owner(&inside), id);
        assert!(inside.iter().sum::<u32>() as usize == 3 * length);
        with_heap(heap, || drop(before));
        let left = heap.stats().live_bytes();
        assert!(left >= 8 * length);
        thread::spawn(move || drop(inside)).join().expect("no panic");
        assert_eq!(heap.stats().live_bytes(), 0, "{length}");
    }
}

#[test]
fn scopes_nest_and_end_with_a_panic() {
    let (one, two) = (OwnedHeap::new().expect("memory"), OwnedHeap::new().expect("memory"));
    let (first, second) = (Some(Owner::Heap(one.id())), Some(Owner::Heap(two.id())));
    let (one, two) = (one.leak(), two.leak());
    let here = || owner(&Vec::<u64>::with_capacity(5));
    with_heap(one, || {
        assert_eq!(here(), first);
        with_heap(two, || assert_eq!(here(), second));
        assert_eq!(here(), first);
        let unwound = catch_unwind(AssertUnwindSafe(|| with_heap(two, || panic!("as it should"))));
        assert!(unwound.is_err());
        assert_eq!(here(), first);
        // Other threads are not in it.
        thread::scope(|scope| {
            let theirs = scope.spawn(here).join().expect("no panic");
            assert_eq!(theirs, Some(Owner::Process));
        });
    });
    assert_eq!(here(), Some(Owner::Process));
}

#[test]
fn a_heap_that_ends_takes_what_is_left_along() {
    for builder in [HeapBuilder::new(), HeapBuilder::inside_process()] {
        let heap = builder.build().expect("memory");
        let held = heap.stats().live_bytes();
        // SAFETY: what is leaked in it is used no more.
        let sum = unsafe {
            with_heap_borrowed(&heap, || {
                let mut words = HashMap::new();
                for number in 0..5000usize {
                    words.insert(number.to_string(), vec![number; number % 9000 / 10]);
                }
                let sum = words.values().map(Vec::len).sum::<usize>();
                std::mem::forget(words);
                sum
            })
        };
        assert!(heap.stats().live_bytes() > held + 8 * sum);
        assert_eq!(heap.stats().reserved, heap.destroy().expect("all goes"));
    }
}

#[test]
fn a_cap_is_an_error_where_errors_can_be_had() {
    let heap = HeapBuilder::new().cap(1 << 20).build().expect("memory").leak();
    let refused = with_heap(heap, || Vec::<u8>::new().try_reserve(2 << 20).is_err());
    assert!(refused);
    with_heap(heap, || assert!(Vec::<u8>::new().try_reserve(100_000).is_ok()));
}

/// Heaps inside of one another, and of the process's: each block goes to the
/// innermost.
#[test]
fn frees_find_the_innermost_heap() {
    let outer = HeapBuilder::inside_process().build().expect("memory");
    let inner = HeapBuilder::new().inside(&outer).build().expect("memory");
    // SAFETY: all is freed below.
    let mut blocks = unsafe {
        let mut blocks = with_heap_borrowed(&outer, || vec![vec![1u8; 100], vec![1; 100_000]]);
        with_heap_borrowed(&inner, || blocks.extend([vec![2u8; 100], vec![2; 100_000]]));
        blocks
    };
    let owners: Vec<_> = blocks.iter().map(|block| owner(block)).collect();
    let (out, within) = (Some(Owner::Heap(outer.id())), Some(Owner::Heap(inner.id())));
    assert_eq!(owners, [out, out, within, within]);
    blocks.iter_mut().for_each(|block| block.resize(200_000, 3));
    assert_eq!(blocks.iter().map(|block| owner(block)).collect::<Vec<_>>(), owners);
    drop(blocks);
    assert_eq!(inner.stats().live_bytes(), 0);
    inner.check().expect("a whole heap");
    drop(inner);
    assert_eq!(outer.stats().live_bytes(), 0);
}
