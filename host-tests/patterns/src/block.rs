//! A block of memory, owned: of the C library's `malloc`, or, with the feature
//! `rust-door`, of the program's global allocator.
//!
//! A compiler knows what both doors do and may drop a pair whose block nobody
//! looks at. Every pointer passes through `black_box`, which the compiler must
//! take for a reader, so each pair is really made.

use std::hint::black_box;
use std::ptr::NonNull;

/// A live block; dropping it frees it.
pub(crate) struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is memory that only its owner refers to, and both doors free
// from any thread.
unsafe impl Send for Block {}

impl Block {
    /// A block of `size` bytes; its first byte is written, so not 0.
    #[inline]
    pub(crate) fn new(size: usize) -> Block {
        let mut block = Block { start: present(door::take(black_box(size))), size };
        block.write(0);
        block
    }

    /// Makes it `size` bytes, wherever that may be; not 0, which may free it.
    #[inline]
    pub(crate) fn resize(&mut self, size: usize) {
        assert_ne!(size, 0, "realloc to nothing may free");
        // SAFETY: the block is live and of that size. On success the old one
        // is forgotten; on failure `present` ends the process.
        let block = unsafe { door::resize(self.start.as_ptr(), self.size, black_box(size)) };
        self.start = present(block);
        self.size = size;
    }

    /// How large it is.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Writes the byte at `at`, which must lie inside the block.
    #[inline]
    pub(crate) fn write(&mut self, at: usize) {
        assert!(at < self.size, "a workload writes only what it asked for");
        // SAFETY: `start` is good for `size` bytes, and `at` is below that.
        unsafe { self.start.add(at).write_volatile(1) };
    }

    /// Writes one byte in each of the first `pages` pages.
    #[inline]
    pub(crate) fn touch_pages(&mut self, pages: usize) {
        const PAGE: usize = 4096;
        for page in 0..pages {
            self.write(page * PAGE);
        }
    }

    /// Writes one byte in each 64, as a program that uses all of it does.
    #[inline]
    pub(crate) fn fill(&mut self) {
        for at in (0..self.size).step_by(64) {
            self.write(at);
        }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is live and of that size, and this owner, the only
        // one, is going away.
        unsafe { door::give(black_box(self.start.as_ptr()), self.size) };
    }
}

/// The pointer; a benchmark that is out of memory has nothing to measure.
#[inline]
fn present(block: *mut u8) -> NonNull<u8> {
    match NonNull::new(black_box(block)) {
        Some(block) => block,
        None => std::process::abort(),
    }
}

/// The C library's.
#[cfg(not(feature = "rust-door"))]
mod door {
    #[inline(always)]
    pub(super) fn take(size: usize) -> *mut u8 {
        // SAFETY: malloc has no preconditions.
        unsafe { libc::malloc(size) }.cast()
    }

    /// # Safety
    ///
    /// Caller: `block` is live and came from here.
    #[inline(always)]
    pub(super) unsafe fn resize(block: *mut u8, _old: usize, new: usize) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { libc::realloc(block.cast(), new) }.cast()
    }

    /// # Safety
    ///
    /// Caller: `block` is live and came from here; it is not used again.
    #[inline(always)]
    pub(super) unsafe fn give(block: *mut u8, _size: usize) {
        // SAFETY: by the contract.
        unsafe { libc::free(block.cast()) }
    }
}

/// The program's global allocator, which is told the size at every call.
#[cfg(feature = "rust-door")]
mod door {
    use std::alloc::{Layout, alloc, dealloc, realloc};

    #[inline(always)]
    fn layout(size: usize) -> Layout {
        // SAFETY: 16 is a power of two, and no workload asks for so much that
        // rounding up would overflow. As `malloc` aligns, so that both doors
        // ask for the same.
        unsafe { Layout::from_size_align_unchecked(size, 16) }
    }

    #[inline(always)]
    pub(super) fn take(size: usize) -> *mut u8 {
        // SAFETY: no workload asks for nothing: its first byte is written.
        unsafe { alloc(layout(size)) }
    }

    /// # Safety
    ///
    /// Caller: `block` is live, came from here, and has size `old`; `new` is
    /// not 0.
    #[inline(always)]
    pub(super) unsafe fn resize(block: *mut u8, old: usize, new: usize) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { realloc(block, layout(old), new) }
    }

    /// # Safety
    ///
    /// Caller: `block` is live, came from here, and has this size; it is not
    /// used again.
    #[inline(always)]
    pub(super) unsafe fn give(block: *mut u8, size: usize) {
        // SAFETY: by the contract.
        unsafe { dealloc(block, layout(size)) }
    }
}
