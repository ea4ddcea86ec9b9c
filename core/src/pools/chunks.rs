//! Memory by the chunk, each about as large as all before it.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};

use allocator_api2::alloc::{AllocError, Allocator};

/// Bytes of the first chunk, unless a block needs more.
const FIRST: usize = 1 << 10;

/// Bytes of a chunk at most, unless a block needs more.
const MOST: usize = 64 << 10;

/// At the start of each chunk.
struct Header {
    next: *mut Header,
    /// Of the whole chunk.
    layout: Layout,
}

/// The chunks of one thread's pool.
///
/// B1: a chunk is in the list from its allocation to the drop, and its memory
/// behind the header is the owner's to cut.
pub(super) struct Chunks<A: Allocator> {
    newest: Cell<*mut Header>,
    bytes: Cell<usize>,
    allocator: A,
}

// SAFETY: the list is the value's own.
unsafe impl<A: Allocator + Send> Send for Chunks<A> {}

impl<A: Allocator> Chunks<A> {
    pub(super) const fn new(allocator: A) -> Self {
        Self { newest: Cell::new(null_mut()), bytes: Cell::new(0), allocator }
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// A new chunk with room for `block` at least once, repeated at its
    /// stride: the first block and how many there are.
    pub(super) fn grow(&self, block: Layout) -> Result<(NonNull<u8>, usize), AllocError> {
        let (first, offset) = Layout::new::<Header>().extend(block).map_err(|_| AllocError)?;
        let stride = block.pad_to_align().size();
        let bytes = first.size().max(self.bytes.get().clamp(FIRST, MOST));
        let layout = Layout::from_size_align(bytes, first.align()).map_err(|_| AllocError)?;
        let chunk = self.allocator.allocate(layout)?.cast::<Header>();
        let header = Header { next: self.newest.get(), layout };
        // SAFETY: allocated with room for a header, aligned for it.
        unsafe { chunk.write(header) };
        self.newest.set(chunk.as_ptr());
        self.bytes.set(self.bytes.get() + bytes);
        // The last block may lack its padding, which nobody touches.
        let count = 1 + (bytes - first.size()) / stride;
        // SAFETY: inside the chunk.
        Ok((unsafe { chunk.cast::<u8>().add(offset) }, count))
    }
}

impl<A: Allocator> Drop for Chunks<A> {
    fn drop(&mut self) {
        let mut next = self.newest.get();
        while let Some(chunk) = NonNull::new(next) {
            // SAFETY: B1; read before the chunk goes.
            unsafe {
                let header = chunk.read();
                next = header.next;
                self.allocator.deallocate(chunk.cast(), header.layout);
            }
        }
    }
}
