//! Large blocks that are to be zero, out of memory that has been used.

use core::ptr::NonNull;
use std::alloc::Layout;

use crate::base::bytes::is_all;
use crate::base::config::Config;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestCpu, TestEnv, for_ever, migrate, unless_miri};
use crate::heap::Heap;
use crate::provider::Capabilities;

const CAN: Capabilities = Capabilities::all().difference(Capabilities::HUGE);

struct Kind<const LAZY: bool>;

impl<const LAZY: bool> Config for Kind<LAZY> {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;

    const LAZY_PAGES: bool = LAZY;
}

/// A heap whose provider says that one page in `one_in` is resident.
fn heap<const LAZY: bool>(can: Capabilities, one_in: usize) -> &'static Heap<Kind<LAZY>> {
    migrate(0);
    let arena = Arena::new(4096, can, 64 << 20).in_steps_of(32 << 20);
    arena.say_resident(one_in);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).expect("small")
}

/// A block of any contents, filled.
fn used<C: Config>(heap: &Heap<C>, size: usize) -> NonNull<u8> {
    let block = NonNull::new(heap.alloc(bytes(size))).expect("memory");
    // SAFETY: a live block of so many bytes, the test's.
    unsafe { block.write_bytes(0xff, size) };
    block
}

fn free<C: Config>(heap: &Heap<C>, block: NonNull<u8>, size: usize) {
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, bytes(size)) };
}

/// A block that must be zero.
fn zeroed<C: Config>(heap: &Heap<C>, size: usize) -> NonNull<u8> {
    let block = NonNull::new(heap.alloc_zeroed(bytes(size))).expect("memory");
    // SAFETY: a live block of so many bytes.
    assert!(is_all(unsafe { core::slice::from_raw_parts(block.as_ptr(), size) }, 0));
    block
}

/// What is purged by a zeroed allocation of `size` bytes that takes the place of a block
/// of as many.
fn purged<const LAZY: bool>(heap: &Heap<Kind<LAZY>>, size: usize) -> usize {
    let block = used(heap, size);
    free(heap, block, size);
    let before = heap.provider().purged();
    let again = zeroed(heap, size);
    assert_eq!(again, block);
    let purged = heap.provider().purged() - before;
    free(heap, again, size);
    heap.check().expect("sound");
    purged
}

#[test]
fn what_was_used_here_and_there_is_purged_instead_of_written() {
    const LEAST: usize = 1 << 20;
    for (one_in, size, goes) in [
        (32, LEAST, true),
        (31, LEAST, false),
        (32, LEAST - 4096, false),
        (1, LEAST, false),
        (32, unless_miri(5 << 20, LEAST + LEAST / 4), true),
    ] {
        let heap = heap::<true>(CAN, one_in);
        assert_eq!(purged(heap, size), if goes { size } else { 0 }, "{size}, one in {one_in}");
    }
}

// To write so many pages takes Miri an hour.
#[cfg(not(miri))]
#[test]
fn of_what_is_larger_less_than_half_is_little() {
    const LARGE: usize = 16 << 20;
    for (one_in, size, goes) in [(3, LARGE, true), (2, LARGE, false), (3, LARGE - 4096, false)] {
        let heap = heap::<true>(CAN, one_in);
        assert_eq!(purged(heap, size), if goes { size } else { 0 }, "{size}, one in {one_in}");
    }
}

/// Who cannot purge, or not to zero, or does not want to, gets zero bytes all the same.
#[test]
fn what_cannot_be_purged_is_written() {
    let size = unless_miri(5 << 20, 1 << 20);
    for can in [CAN - Capabilities::PURGE, CAN - Capabilities::PURGE_ZEROES] {
        assert_eq!(purged(heap::<true>(can, 64), size), 0);
    }
    let refusing = heap::<true>(CAN, 64);
    refusing.provider().refuse(Refuse::Purge);
    assert_eq!(purged(refusing, size), 0);
    // Where pages are not lazy it may be hard to get them again.
    assert_eq!(purged(heap::<false>(CAN, 64), size), 0);
}

/// Of a run whose front is known to be zero the rest goes, or is written.
#[test]
fn only_what_may_be_dirty_is_cleared() {
    const MIB: usize = 1 << 20;
    for (one_in, goes) in [(64, true), (1, false)] {
        let heap = heap::<true>(CAN, one_in);
        let (block, behind) = (used(heap, 4 * MIB), used(heap, 2 * MIB));
        assert_eq!(behind.addr().get() - block.addr().get(), 4 * MIB);
        // What it is shrunk by is purged, and zero.
        // SAFETY: live, of that layout.
        let shrunk = unsafe { heap.realloc(block, bytes(4 * MIB), MIB) };
        assert_eq!(shrunk, block.as_ptr());
        free(heap, behind, 2 * MIB);
        heap.provider().take_purges();
        let both = zeroed(heap, 5 * MIB);
        assert_eq!(both.addr().get(), block.addr().get() + MIB);
        let expected = [(behind.addr().get(), 2 * MIB)];
        assert_eq!(heap.provider().take_purges(), &expected[..usize::from(goes)]);
        free(heap, both, 5 * MIB);
        free(heap, block, MIB);
        assert_eq!(heap.stats().live_bytes(), 0);
        heap.check().expect("sound");
    }
}
