//! A block of the C library's `malloc`, owned.
//!
//! A compiler knows what `malloc` and `free` do and may drop a pair whose
//! block nobody looks at. Every pointer passes through `black_box`, which the
//! compiler must take for a reader, so each pair is really made.

use std::hint::black_box;
use std::ptr::NonNull;

/// A live block; dropping it frees it.
pub(crate) struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is memory that only its owner refers to, and `free` may be
// called from any thread.
unsafe impl Send for Block {}

impl Block {
    /// A block of `size` bytes; its first byte is written, so not 0.
    #[inline]
    pub(crate) fn new(size: usize) -> Block {
        // SAFETY: malloc has no preconditions.
        let block = unsafe { libc::malloc(black_box(size)) };
        let mut block = Block { start: present(block), size };
        block.write(0);
        block
    }

    /// Makes it `size` bytes, wherever that may be; not 0, which may free it.
    #[inline]
    pub(crate) fn resize(&mut self, size: usize) {
        assert_ne!(size, 0, "realloc to nothing may free");
        // SAFETY: the pointer came from malloc or realloc and has not been
        // freed: only `drop` does that. On success the old one is forgotten;
        // on failure `present` ends the process.
        let block = unsafe { libc::realloc(self.start.as_ptr().cast(), black_box(size)) };
        self.start = present(block);
        self.size = size;
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
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the pointer came from malloc or realloc, and this owner, the
        // only one, is going away.
        unsafe { libc::free(black_box(self.start.as_ptr()).cast()) };
    }
}

/// The pointer; a benchmark that is out of memory has nothing to measure.
#[inline]
fn present(block: *mut libc::c_void) -> NonNull<u8> {
    match NonNull::new(black_box(block).cast()) {
        Some(block) => block,
        None => std::process::abort(),
    }
}
