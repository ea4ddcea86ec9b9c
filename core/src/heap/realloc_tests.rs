//! Blocks that grow and shrink: where they go, and that nothing is lost.

use core::ptr::NonNull;
use std::alloc::Layout;

use crate::base::bytes::is_all;
use crate::base::class::{Class, MAX_SMALL};
use crate::base::config::Config;
use crate::base::origin::Caller;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestCpu, TestEnv, for_ever, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

struct Lazy;

impl Config for Lazy {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LAZY_PAGES: bool = true;
}

fn heap(can: Capabilities, bytes: usize) -> &'static Heap<Lazy> {
    migrate(0);
    let arena = Arena::new(4096, can, bytes).in_steps_of(bytes / 2);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).expect("small")
}

/// A block with something in each of its pages.
struct Buffer {
    heap: &'static Heap<Lazy>,
    start: NonNull<u8>,
    size: usize,
}

impl Buffer {
    fn new(heap: &'static Heap<Lazy>, size: usize) -> Self {
        let start = NonNull::new(heap.alloc(bytes(size))).expect("memory");
        let buffer = Self { heap, start, size };
        buffer.write(0);
        buffer
    }

    fn at(&self, at: usize) -> *mut u8 {
        assert!(at < self.size);
        // SAFETY: inside the block.
        unsafe { self.start.as_ptr().add(at) }
    }

    fn write(&self, from: usize) {
        for at in (from..self.size).step_by(4096) {
            // SAFETY: inside the block, which is the test's.
            unsafe { self.at(at).write((at / 4096 % 251) as u8) };
        }
    }

    fn verify(&self, size: usize) {
        for at in (0..size).step_by(4096) {
            // SAFETY: inside the block, which is the test's.
            assert_eq!(unsafe { self.at(at).read() }, (at / 4096 % 251) as u8, "at {at}");
        }
    }

    /// Resizes; whether it could be had, and whether it stayed in place.
    fn resize(&mut self, size: usize) -> Option<bool> {
        // SAFETY: live, of that layout.
        let new = unsafe { self.heap.realloc(self.start, bytes(self.size), size) };
        let Some(new) = NonNull::new(new) else {
            self.verify(self.size);
            return None;
        };
        let stayed = new == self.start;
        let kept = self.size.min(size);
        (self.start, self.size) = (new, size);
        self.verify(kept);
        self.write(kept.next_multiple_of(4096));
        self.heap.check().expect("sound");
        Some(stayed)
    }

    fn free(self) {
        // SAFETY: live, of that layout.
        unsafe { self.heap.dealloc(self.start, bytes(self.size)) };
    }
}

#[test]
fn a_block_that_moved_grows_in_place_from_then_on() {
    let heap = heap(Capabilities::all(), 64 << 20);
    let mut buffer = Buffer::new(heap, 100_000);
    // Something in its way.
    let wall = Buffer::new(heap, 100_000);
    assert_eq!(buffer.resize(150_000), Some(false));
    let other = Buffer::new(heap, 50_000);
    for size in [220_000, 300_000, 500_000, 800_000] {
        assert_eq!(buffer.resize(size), Some(true), "{size}");
    }
    for size in [400_000, 100_000, 40_000, 800_000] {
        assert_eq!(buffer.resize(size), Some(true), "{size}");
    }
    [buffer, wall, other].into_iter().for_each(Buffer::free);
    assert_eq!(heap.stats().live_bytes(), 0);
    heap.check().expect("sound");
}

#[test]
fn blocks_are_moved_whole_with_and_without_remapping() {
    for can in [Capabilities::all(), Capabilities::all().difference(Capabilities::REMAP)] {
        let heap = heap(can, 64 << 20);
        let mut buffer = Buffer::new(heap, 10_000);
        let mut walls = std::vec::Vec::new();
        let larger = [unless_miri(2_500_000, 500_000), unless_miri(5_000_000, 700_000)];
        let sizes = [33_000, larger[0], larger[1], 12_000, 300_000, 70_000, 900_000];
        for size in sizes.into_iter().take(unless_miri(7, 4)) {
            walls.push(Buffer::new(heap, size));
            assert!(buffer.resize(size).is_some(), "{size}");
        }
        buffer.free();
        walls.into_iter().for_each(Buffer::free);
        assert_eq!(heap.stats().live_bytes(), 0);
    }
}

/// What a large block is shrunk by goes back at once, and is zero when it comes again.
#[test]
fn what_a_block_is_shrunk_by_goes_back() {
    let can = Capabilities::all() - Capabilities::HUGE;
    for (can, back) in [(can, true), (can - Capabilities::PURGE, false)] {
        let heap = heap(can, 64 << 20);
        let mut buffer = Buffer::new(heap, 4 << 20);
        assert_eq!(buffer.resize(1 << 20), Some(true));
        assert_eq!(heap.provider().purged(), if back { 3 << 20 } else { 0 });
        // Too little to be worth it.
        assert_eq!(buffer.resize((1 << 20) - (128 << 10)), Some(true));
        assert_eq!(heap.provider().purged(), if back { 3 << 20 } else { 0 });
        let other = NonNull::new(heap.alloc_zeroed(bytes(3 << 20))).expect("memory");
        // SAFETY: a live block of so many bytes.
        let zero = unsafe { core::slice::from_raw_parts(other.as_ptr(), 3 << 20) };
        assert!(is_all(zero, 0));
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(other, bytes(3 << 20)) };
        buffer.free();
        assert_eq!(heap.stats().live_bytes(), 0);
        heap.check().expect("sound");
    }
}

/// Without a layout, sizes on both sides of the largest small class: one copy.
#[test]
fn a_block_between_run_and_small_class_stays_where_it_is() {
    let heap = heap(Capabilities::all(), 64 << 20);
    let c_malloc = |size| {
        let block = heap.alloc_class(Class::for_malloc(size), size, Caller::UNKNOWN);
        NonNull::new(block).expect("memory")
    };
    let resize = |block, size| {
        // SAFETY: live.
        let block = unsafe { heap.realloc_unsized(block, size, Caller::UNKNOWN) };
        heap.check().expect("sound");
        NonNull::new(block).expect("memory")
    };
    let block = c_malloc(31_000);
    // SAFETY: a live block of so many bytes, the test's.
    unsafe { block.write_bytes(7, 31_000) };
    let run = resize(block, 34_000);
    let usable = heap.usable_size(run);
    for size in [31_000, 34_000, MAX_SMALL, MAX_SMALL + 1, 20_480, 40_960, 31_000] {
        assert_eq!((resize(run, size), heap.usable_size(run)), (run, usable), "{size}");
    }
    // SAFETY: a live block; so many bytes were in it all the time.
    let kept = |block: NonNull<u8>, size| unsafe {
        assert!(is_all(core::slice::from_raw_parts(block.as_ptr(), size), 7));
    };
    kept(run, 20_480);
    // Less than half, and it moves with what it keeps.
    let small = resize(run, 20_479);
    assert_ne!(small, run);
    assert!(heap.is_in_slab(small.as_ptr()));
    kept(small, 20_479);
    // SAFETY: live.
    unsafe { heap.free(small) };

    // A run that is shorter than the small size: it is one for its alignment alone.
    let aligned = Layout::from_size_align(100, 64 << 10).expect("small");
    let block = NonNull::new(heap.alloc(aligned)).expect("memory");
    // SAFETY: a live block of so many bytes, the test's.
    unsafe { block.write_bytes(7, 100) };
    assert_eq!(resize(block, 4096), block);
    let longer = resize(block, 4097);
    assert!(longer != block && heap.usable_size(longer) >= Some(4097));
    kept(longer, 100);

    // What stays is freed, and serves again, as the run it is.
    let run = resize(c_malloc(34_000), 31_000);
    assert!(!heap.is_in_slab(run.as_ptr()));
    // SAFETY: live, both.
    unsafe {
        heap.free(run);
        heap.free(longer);
    }
    assert_eq!(heap.stats().live_bytes(), 0);
    heap.check().expect("sound");
}

/// With a layout the class follows the size, or what frees it would not find it.
#[test]
fn a_run_with_a_layout_becomes_small_by_a_move() {
    let heap = heap(Capabilities::all(), 64 << 20);
    let mut buffer = Buffer::new(heap, 34_000);
    assert_eq!(buffer.resize(31_000), Some(false));
    assert!(heap.is_in_slab(buffer.start.as_ptr()));
    buffer.free();
    assert_eq!(heap.stats().live_bytes(), 0);
}

/// A provider that refuses to purge changes nothing else.
#[test]
fn a_block_shrinks_though_its_memory_is_not_taken_back() {
    let heap = heap(Capabilities::all() - Capabilities::HUGE, 64 << 20);
    let mut buffer = Buffer::new(heap, 4 << 20);
    heap.provider().refuse(Refuse::FromCall(0));
    assert_eq!(buffer.resize(1 << 20), Some(true));
    assert!(heap.provider().calls() > 0 && heap.provider().purged() == 0);
    heap.provider().refuse(Refuse::Nothing);
    assert_eq!(buffer.resize(4 << 20), Some(true));
    buffer.free();
    heap.check().expect("sound");
}

#[test]
fn growth_that_fails_leaves_the_block_as_it_was() {
    let heap = heap(Capabilities::all(), 8 << 20);
    let mut buffer = Buffer::new(heap, 500_000);
    let wall = Buffer::new(heap, 500_000);
    assert_eq!(buffer.resize(64 << 20), None);
    assert_eq!(buffer.resize(usize::MAX / 4), None);
    // As many pages as there may be in a region, or nearly.
    let most = 4096usize.saturating_mul(1 << 30).min(isize::MAX as usize);
    assert_eq!(buffer.resize(most - 1), None);
    heap.check().expect("sound");
    // Room for the block, if not for room behind it.
    assert!(buffer.resize(2 << 20).is_some());
    buffer.free();
    wall.free();
    assert_eq!(heap.stats().live_bytes(), 0);
}
