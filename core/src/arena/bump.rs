//! A cursor over a list of chunks.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};

use allocator_api2::alloc::{AllocError, Allocator};

/// Bytes of the first chunk, unless a block needs more.
const FIRST: usize = 1 << 10;

/// Bytes of a chunk at most, unless a block needs more.
const MOST: usize = 1 << 20;

/// What chunks are aligned to, unless a block needs more.
const ALIGN: usize = 16;

/// What the cursor is aligned to, so that most blocks need no padding. Up to
/// seven bytes a block, where it is a string.
const UNIT: usize = 8;

/// Where no chunk is: there is room for blocks of no bytes.
const NOWHERE: *mut u8 = core::ptr::without_provenance_mut(ALIGN);

/// At the start of each chunk. As long as the cursor behind it is to be aligned,
/// also where words are of 32 bits.
#[repr(align(8))]
struct Header {
    /// The chunk to go on with.
    next: *mut Header,
    layout: Layout,
}

const _: () = assert!(size_of::<Header>().is_multiple_of(UNIT), "A1, at a chunk's start");

/// Where a bump stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    chunk: *mut Header,
    cursor: *mut u8,
}

/// The cursor, and all chunks from the first to the last.
///
/// A1: the cursor and `end` are multiples of `UNIT`; the memory from the cursor to the end of its chunk, and all of the
/// chunks behind it, is nobody's; `cursor` and `end` are of the chunk
/// `current`, or both nowhere as long as there is none.
/// A2: a chunk that is in the list stays until `trim` or the drop, which
/// nobody's block outlives.
pub(super) struct Bump<A: Allocator> {
    cursor: Cell<*mut u8>,
    end: Cell<*mut u8>,
    current: Cell<*mut Header>,
    first: Cell<*mut Header>,
    bytes: Cell<usize>,
    allocator: A,
}

// SAFETY: the chunks are the value's own.
unsafe impl<A: Allocator + Send> Send for Bump<A> {}

impl<A: Allocator> Bump<A> {
    pub(super) const fn new(allocator: A) -> Self {
        Self {
            cursor: Cell::new(NOWHERE),
            end: Cell::new(NOWHERE),
            current: Cell::new(null_mut()),
            first: Cell::new(null_mut()),
            bytes: Cell::new(0),
            allocator,
        }
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// A block.
    #[inline(always)]
    pub(super) fn take(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        match self.take_here(layout) {
            Some(block) => Ok(block),
            None => self.take_further(layout),
        }
    }

    /// A block of the current chunk.
    #[inline(always)]
    fn take_here(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (cursor, end) = (self.cursor.get(), self.end.get());
        let padding = match layout.align() {
            ..=UNIT => 0,
            align => cursor.addr().wrapping_neg() & (align - 1),
        };
        let bytes = layout.size().next_multiple_of(UNIT);
        let room = end.addr() - cursor.addr();
        // Both are at most half of the address space, so that nothing wraps.
        if padding + bytes > room {
            return None;
        }
        // SAFETY: as just tested, inside the chunk (A1); or of no bytes.
        unsafe {
            let block = cursor.add(padding);
            self.cursor.set(block.add(bytes));
            Some(NonNull::new_unchecked(block))
        }
    }

    /// A block of the next chunk if it has room, or else of a new one.
    #[cold]
    #[inline(never)]
    fn take_further(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let stood = self.mark();
        let current = NonNull::new(self.current.get());
        // SAFETY: A2.
        let next = current.map_or(self.first.get(), |current| unsafe { current.as_ref() }.next);
        if let Some(next) = NonNull::new(next) {
            self.enter(next);
            if let Some(block) = self.take_here(layout) {
                return Ok(block);
            }
        }
        match self.insert(layout, current, next) {
            Ok(()) => self.take_here(layout).ok_or(AllocError),
            Err(error) => {
                // SAFETY: nothing has been taken since.
                unsafe { self.rewind(stood) };
                Err(error)
            }
        }
    }

    /// A new chunk, between two others, with room for `layout`.
    fn insert(
        &self,
        layout: Layout,
        before: Option<NonNull<Header>>,
        next: *mut Header,
    ) -> Result<(), AllocError> {
        let header = Layout::new::<Header>();
        let (needed, _) = header.extend(layout).map_err(|_| AllocError)?;
        let needed = needed.align_to(UNIT).map_err(|_| AllocError)?.pad_to_align();
        let bytes = needed.size().max(self.bytes.get().clamp(FIRST, MOST));
        let align = needed.align().max(ALIGN);
        let layout = Layout::from_size_align(bytes, align).map_err(|_| AllocError)?;
        let chunk = self.allocator.allocate(layout)?.cast::<Header>();
        // SAFETY: allocated with room for a header, aligned for it.
        unsafe { chunk.write(Header { next, layout }) };
        match before {
            // SAFETY: A2, and nobody else refers to headers.
            Some(mut before) => unsafe { before.as_mut() }.next = chunk.as_ptr(),
            None => self.first.set(chunk.as_ptr()),
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.enter(chunk);
        Ok(())
    }

    /// Goes on at the start of a chunk that is nobody's.
    fn enter(&self, chunk: NonNull<Header>) {
        let bytes = chunk.cast::<u8>().as_ptr();
        // SAFETY: A2, the chunk is so large.
        unsafe {
            self.cursor.set(bytes.add(size_of::<Header>()));
            self.end.set(bytes.add(chunk.as_ref().layout.size()));
        }
        self.current.set(chunk.as_ptr());
    }

    /// Makes the block that was taken last `new` bytes large where it is;
    /// `false` when it was not the last, or there is no room.
    ///
    /// # Safety
    ///
    /// Caller: has a block of so many bytes.
    #[inline]
    pub(super) unsafe fn resize_last(&self, block: NonNull<u8>, old: usize, new: usize) -> bool {
        let behind = block.as_ptr().wrapping_add(old.next_multiple_of(UNIT));
        let bytes = new.next_multiple_of(UNIT);
        if behind != self.cursor.get() || bytes > self.end.get().addr() - block.addr().get() {
            return false;
        }
        // SAFETY: as just tested, inside the chunk: one that ends at the cursor
        // is of this chunk, as another one's end is at most where a header is.
        self.cursor.set(unsafe { block.add(bytes) }.as_ptr());
        true
    }

    /// Where the cursor is.
    #[inline]
    pub(super) fn mark(&self) -> Mark {
        Mark { chunk: self.current.get(), cursor: self.cursor.get() }
    }

    /// Goes back to where the cursor was.
    ///
    /// # Safety
    ///
    /// Caller: the mark is this bump's, made since the last `trim`, and all
    /// blocks taken since it was made are nobody's (A1).
    #[inline]
    pub(super) unsafe fn rewind(&self, mark: Mark) {
        match NonNull::new(mark.chunk) {
            Some(chunk) => {
                self.enter(chunk);
                self.cursor.set(mark.cursor);
            }
            None => self.leave(),
        }
    }

    /// Goes back to the start of the first chunk.
    ///
    /// # Safety
    ///
    /// Caller: no block is anybody's (A1).
    #[inline]
    pub(super) unsafe fn restart(&self) {
        match NonNull::new(self.first.get()) {
            Some(first) => self.enter(first),
            None => self.leave(),
        }
    }

    fn leave(&self) {
        self.current.set(null_mut());
        self.cursor.set(NOWHERE);
        self.end.set(NOWHERE);
    }

    /// Gives chunks back from the end of the list, until at most `keep` bytes
    /// of them are left; the cursor goes back to the start.
    pub(super) fn trim(&mut self, keep: usize) {
        self.leave();
        let (mut link, mut kept) = (self.first.get(), 0);
        let mut last: Option<NonNull<Header>> = None;
        while let Some(chunk) = NonNull::new(link) {
            // SAFETY: A2.
            let bytes = unsafe { chunk.as_ref() }.layout.size();
            if kept + bytes > keep {
                break;
            }
            kept += bytes;
            // SAFETY: as above.
            link = unsafe { chunk.as_ref() }.next;
            last = Some(chunk);
        }
        match last {
            // SAFETY: A2.
            Some(mut last) => unsafe { last.as_mut() }.next = null_mut(),
            None => self.first.set(null_mut()),
        }
        self.bytes.set(kept);
        while let Some(chunk) = NonNull::new(link) {
            // SAFETY: out of the list; read before the chunk goes.
            unsafe {
                let header = chunk.read();
                link = header.next;
                self.allocator.deallocate(chunk.cast(), header.layout);
            }
        }
    }
}

impl<A: Allocator> Drop for Bump<A> {
    fn drop(&mut self) {
        self.trim(0);
    }
}
