//! Heaps that end: shared by threads, capped, inside of each other, on buffers
//! and on memory of the program's own functions, which may lie.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use granule::heap::{
    HeapBuilder, HeapError, LocalHeap, OwnedHeap, Owner, RawFault, RawMemory, owner_of,
};
use granule::{HostPages, process_heap};

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).expect("a layout")
}

const SIZES: [usize; 6] = [24, 300, 5000, 40_000, 300_000, 3 << 20];

fn fill(heap: &granule::heap::Heap) -> Vec<(NonNull<u8>, usize)> {
    let block = |&size: &usize| {
        let block = NonNull::new(heap.alloc(layout(size))).expect("memory");
        // SAFETY: live, and that large.
        unsafe { block.write_bytes(size as u8, size) };
        (block, size)
    };
    SIZES.iter().map(block).collect()
}

/// A block on its way to another thread.
struct Handed((NonNull<u8>, usize));

// SAFETY: whoever takes it out of the list has it.
unsafe impl Send for Handed {}

/// Address space of the process, in bytes.
fn address_space() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = text.split(' ').next().and_then(|text| text.parse().ok()).expect("pages");
    pages * 4096
}

#[test]
fn threads_share_a_heap_and_it_ends_with_all_they_left() {
    let heap = OwnedHeap::new().expect("memory");
    let handed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let theirs = {
                        let mut handed = handed.lock().expect("no panic");
                        handed.extend(fill(&heap).into_iter().map(Handed));
                        let half = handed.len() / 2;
                        handed.split_off(half)
                    };
                    for Handed((block, size)) in theirs {
                        // SAFETY: taken out of the list: live, and ours to free.
                        unsafe {
                            assert_eq!(*block.as_ptr().add(size - 1), size as u8);
                            heap.dealloc(block, layout(size));
                        }
                    }
                }
            });
        }
    });
    let stats = heap.stats();
    let handed = handed.into_inner().expect("no panic");
    let left: usize = handed.iter().map(|Handed((_, size))| size).sum();
    assert!(stats.live_bytes() >= left && stats.slots >= 1, "{stats:?}");
    assert_eq!(heap.destroy(), Ok(stats.reserved));
}

/// What ends leaves nothing: ten thousand heaps in a row, and many at once.
#[test]
fn any_number_of_heaps() {
    let before = address_space();
    for _ in 0..2000 {
        let heap = OwnedHeap::new().expect("memory");
        assert!(!heap.alloc(layout(100)).is_null());
    }
    let many: Vec<_> = (0..500)
        .map(|_| {
            let heap = OwnedHeap::new().expect("memory");
            let block = heap.alloc(layout(100));
            assert_eq!(owner_of(block), Some(Owner::Heap(heap.id())));
            (heap, block)
        })
        .collect();
    for (heap, block) in &many {
        assert_eq!(owner_of(*block), Some(Owner::Heap(heap.id())));
    }
    drop(many);
    // Other tests run beside this one, but have no such amounts.
    assert!(address_space() < before + (8 << 30), "{before} {}", address_space());
}

#[test]
fn a_cap_is_hard_and_too_small_a_one_is_refused() {
    let refused = HeapBuilder::new().cap(1000).build().err();
    assert!(matches!(refused, Some(HeapError::CapTooSmall(error)) if error.least == 65_536));
    for builder in [HeapBuilder::new(), HeapBuilder::inside_process()] {
        let mut heap = builder.cap(4 << 20).build().expect("memory");
        assert_eq!(heap.cap(), Some(4 << 20));
        for size in [50, 2000, 100_000] {
            let count = std::iter::from_fn(|| NonNull::new(heap.alloc(layout(size)))).count();
            assert!(count * size > 2 << 20 && count * size < 4 << 20, "{count} of {size}");
            assert!(heap.stats().reserved <= 4 << 20);
            assert!(heap.reset().expect("all goes") > 0);
        }
    }
}

#[test]
fn heaps_inside_of_heaps_even_forgotten_ones() {
    let outer = HeapBuilder::new().cap(64 << 20).build().expect("memory");
    let inner = HeapBuilder::new().inside(&outer).cap(32 << 20).build().expect("memory");
    let innermost = HeapBuilder::new().inside(&inner).build().expect("memory");
    for (block, _) in fill(&innermost) {
        assert!(outer.contains(block.as_ptr()) && inner.contains(block.as_ptr()));
        assert_eq!(owner_of(block.as_ptr()), Some(Owner::Heap(innermost.id())));
    }
    drop(innermost);
    assert_eq!(inner.stats().live_bytes(), 0);
    let block = fill(&inner)[0].0.as_ptr();
    assert_eq!(owner_of(block), Some(Owner::Heap(inner.id())));
    // Nobody can find it any more once what it lay in has ended.
    std::mem::forget(inner);
    drop(outer);
    assert_eq!(owner_of(block), None);
}

#[test]
fn a_heap_inside_the_process_heap_gives_back_what_it_took() {
    let heap = HeapBuilder::inside_process().build().expect("memory");
    for (block, _) in fill(&heap) {
        assert!(process_heap().contains(block.as_ptr()));
        assert!(!process_heap().is_in_slab(block.as_ptr()));
        assert_eq!(owner_of(block.as_ptr()), Some(Owner::Heap(heap.id())));
    }
    let own = Box::new(1u8);
    assert!(!heap.contains(&raw const *own));
    assert_eq!(heap.stats().reserved, heap.destroy().expect("all goes"));
}

#[test]
fn foreign_pointers_have_no_owner() {
    let local = 0u8;
    let block = process_heap().alloc(layout(50));
    assert_eq!(owner_of(block), Some(Owner::Process));
    // SAFETY: live, of that layout.
    unsafe { process_heap().dealloc(NonNull::new_unchecked(block), layout(50)) };
    let wild = std::ptr::without_provenance(usize::MAX - 7);
    for pointer in [&raw const local, std::ptr::null(), wild, std::ptr::without_provenance(1)] {
        assert_eq!(owner_of(pointer), None);
    }
}

#[test]
fn a_fixed_pool_lives_on_its_buffer_and_begins_anew() {
    let mut buffer = vec![0xffu8; 1 << 20];
    let (start, bytes) = (NonNull::new(buffer.as_mut_ptr()).expect("memory"), buffer.len());
    // SAFETY: too little, or too small: nothing is made of it.
    unsafe {
        let refused = HeapBuilder::fixed(start, 4000).build().err();
        assert_eq!(refused, Some(HeapError::BufferTooSmall));
    }
    // SAFETY: the pool's alone, until it has ended.
    let mut pool = unsafe { HeapBuilder::fixed(start, bytes) }.build().expect("room");
    let range = buffer.as_ptr_range();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let blocks: Vec<_> =
            std::iter::from_fn(|| NonNull::new(pool.alloc(layout(1000)))).collect();
        assert!(blocks.iter().all(|block| range.contains(&block.as_ptr().cast_const())));
        assert_eq!(owner_of(blocks[0].as_ptr()), Some(Owner::Heap(pool.id())));
        assert!(pool.alloc(layout(1 << 20)).is_null());
        counts.push(blocks.len());
        pool.reset().expect("nothing to refuse");
        assert_eq!(pool.stats().live_bytes(), 0);
    }
    assert!(counts[0] > 800 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert_eq!(pool.destroy(), Ok(0));
    buffer.fill(0);
}

#[test]
fn a_buffer_in_a_small_block_of_the_process_is_refused() {
    let buffer = process_heap().alloc(layout(30_000));
    let start = NonNull::new(buffer).expect("memory");
    // SAFETY: ours, and refused.
    let refused = unsafe { HeapBuilder::fixed(start, 30_000) }.build().err();
    assert_eq!(refused, Some(HeapError::BufferTooSmall));
    // SAFETY: live, of that layout.
    unsafe { process_heap().dealloc(start, layout(30_000)) };
}

/// Raw memory of the C library's, as good or bad as it is told to be.
struct Raw {
    lie: AtomicUsize,
    out: AtomicUsize,
    bytes: AtomicUsize,
    refuse: AtomicUsize,
}

const HONEST: usize = 0;
const MISALIGNED: usize = 1;
const TOO_LITTLE: usize = 2;
const ODD: usize = 3;
const NOTHING: usize = 4;
const GRANULARITY: usize = 64 << 10;

impl Raw {
    const fn new() -> Self {
        Self {
            lie: AtomicUsize::new(HONEST),
            out: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            refuse: AtomicUsize::new(0),
        }
    }

    unsafe extern "C" fn alloc(context: *mut c_void, bytes: *mut usize) -> *mut c_void {
        // SAFETY: as `memory` says, and the pool.
        let (raw, bytes) = unsafe { (&*context.cast::<Self>(), &mut *bytes) };
        assert!(bytes.is_multiple_of(GRANULARITY));
        let mut shift = 0;
        match raw.lie.load(Relaxed) {
            MISALIGNED => shift = 16,
            TOO_LITTLE => *bytes -= GRANULARITY,
            ODD => *bytes += 1,
            NOTHING => return std::ptr::null_mut(),
            // More than was asked for is welcome.
            _ => *bytes += GRANULARITY,
        }
        raw.out.fetch_add(1, Relaxed);
        raw.bytes.fetch_add(*bytes, Relaxed);
        // SAFETY: not empty; `shift` is inside.
        unsafe {
            let layout = Layout::from_size_align_unchecked(*bytes + shift + 1, GRANULARITY);
            std::alloc::alloc(layout).add(shift).cast()
        }
    }

    unsafe extern "C" fn free(context: *mut c_void, start: *mut c_void, bytes: usize) -> c_int {
        // SAFETY: as `memory` says.
        let raw = unsafe { &*context.cast::<Self>() };
        if raw.refuse.load(Relaxed) != 0 {
            return -1;
        }
        raw.out.fetch_sub(1, Relaxed);
        raw.bytes.fetch_sub(bytes, Relaxed);
        let shift = start.addr() % GRANULARITY;
        // SAFETY: as in `alloc`.
        unsafe {
            let layout = Layout::from_size_align_unchecked(bytes + shift + 1, GRANULARITY);
            std::alloc::dealloc(start.cast::<u8>().sub(shift), layout);
        }
        0
    }

    fn memory(&'static self) -> RawMemory {
        let context = std::ptr::from_ref(self).cast_mut().cast();
        RawMemory { alloc: Self::alloc, free: Some(Self::free), context, granularity: GRANULARITY }
    }

    fn pool(&'static self) -> Result<OwnedHeap<'static>, HeapError> {
        // SAFETY: `Raw` keeps the contract, but where it is found out.
        unsafe { HeapBuilder::raw(self.memory()) }.build()
    }
}

#[test]
fn a_pool_that_grows_gives_every_piece_back() {
    static RAW: Raw = Raw::new();
    let mut pool = RAW.pool().expect("memory");
    for _ in 0..2 {
        for (block, _) in fill(&pool) {
            assert_eq!(owner_of(block.as_ptr()), Some(Owner::Heap(pool.id())));
        }
        assert!(RAW.out.load(Relaxed) > 1);
        assert_eq!(pool.stats().reserved, RAW.bytes.load(Relaxed));
        pool.reset().expect("all goes");
        assert_eq!((RAW.out.load(Relaxed), RAW.bytes.load(Relaxed)), (0, 0));
    }
    fill(&pool);
    // What is refused is asked for again.
    RAW.refuse.store(1, Relaxed);
    assert!(pool.reset().is_err());
    RAW.refuse.store(0, Relaxed);
    drop(pool);
    assert_eq!((RAW.out.load(Relaxed), RAW.bytes.load(Relaxed)), (0, 0));
}

#[test]
fn raw_memory_that_cannot_be_used_is_refused_and_given_back() {
    static RAW: Raw = Raw::new();
    let lies = [
        (MISALIGNED, RawFault::Misaligned),
        (TOO_LITTLE, RawFault::TooLittle),
        (ODD, RawFault::BadLength),
    ];
    for (lie, fault) in lies {
        // From the start ...
        RAW.lie.store(lie, Relaxed);
        assert_eq!(RAW.pool().err(), Some(HeapError::Raw(fault)));
        assert_eq!(RAW.out.load(Relaxed), 0);
        // ... and later.
        RAW.lie.store(HONEST, Relaxed);
        let pool = RAW.pool().expect("memory");
        let before = RAW.out.load(Relaxed);
        RAW.lie.store(lie, Relaxed);
        assert!(pool.alloc(layout(5 << 20)).is_null());
        assert_eq!((pool.raw_fault(), RAW.out.load(Relaxed)), (Some(fault), before));
        RAW.lie.store(HONEST, Relaxed);
        assert!(!pool.alloc(layout(5 << 20)).is_null());
    }
    RAW.lie.store(NOTHING, Relaxed);
    assert_eq!(RAW.pool().err(), Some(HeapError::OutOfMemory));
    let mut odd = RAW.memory();
    for granularity in [0, 16, 5000, 2048] {
        odd.granularity = granularity;
        // SAFETY: refused before anything is asked for.
        let refused = unsafe { HeapBuilder::raw(odd) }.build().err();
        assert_eq!(refused, Some(HeapError::BadGranularity));
    }
    assert_eq!(RAW.out.load(Relaxed), 0);
}

#[test]
fn a_heap_of_one_thread() {
    let mut heap = LocalHeap::new(HostPages::for_heaps());
    for _ in 0..3 {
        for size in SIZES {
            let block = NonNull::new(heap.alloc(layout(size))).expect("memory");
            // SAFETY: live, of that layout; freed once.
            unsafe {
                block.write_bytes(1, size);
                heap.dealloc(block, layout(size));
            }
            assert!(!heap.alloc(layout(size)).is_null());
        }
        assert!(heap.stats().live_bytes() >= SIZES.iter().sum());
        assert!(heap.release_all().expect("all goes") > 0);
    }
}

/// A child of a fork finds every heap whole, whatever other threads did.
#[test]
fn a_fork_while_others_use_and_end_heaps() {
    let shared = OwnedHeap::new().expect("memory");
    let stop = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while stop.load(Relaxed) == 0 {
                    let own = HeapBuilder::inside_process().build().expect("memory");
                    fill(&own);
                    for (block, size) in fill(&shared) {
                        // SAFETY: live, of that layout.
                        unsafe { shared.dealloc(block, layout(size)) };
                    }
                }
            });
        }
        for _ in 0..20 {
            // SAFETY: the child runs what follows and ends by `_exit`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                fill(&shared);
                let own = HeapBuilder::inside_process().build().expect("memory");
                let found = owner_of(fill(&own)[0].0.as_ptr()) == Some(Owner::Heap(own.id()));
                drop(own);
                // SAFETY: ends the child without its destructors.
                unsafe { libc::_exit(if found { 0 } else { 1 }) };
            }
            let mut status = -1;
            // SAFETY: `status` is writable.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(waited, pid);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
        }
        stop.store(1, Relaxed);
    });
    assert_eq!(shared.stats().live_bytes(), 0);
}
