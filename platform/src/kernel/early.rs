//! A heap for the time before the memory map is known: the first instructions
//! of a kernel may want a `Vec` to read it into.
//!
//! [`linked_list_allocator`]'s first fit over a static array: small, and fast
//! enough for the few blocks there are. What is allocated here is freed here,
//! also long after granule has taken over.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};

use granule_core::Environment;
use granule_core::base::sync::Lock;
use linked_list_allocator::Heap as List;

/// The array, aligned for every early need.
#[repr(C, align(64))]
struct Memory<const BYTES: usize>(UnsafeCell<[MaybeUninit<u8>; BYTES]>);

/// A heap of `BYTES` bytes in the kernel's image (`.bss`). `BYTES` of 0 makes
/// one that has nothing; otherwise it is at least 64.
///
/// Locks: `list`, a leaf.
pub struct EarlyHeap<E, const BYTES: usize> {
    memory: Memory<BYTES>,
    list: Lock<Option<List>, E>,
}

// SAFETY: the array is reached through the list alone, under its lock, and
// through blocks, each of which has one owner.
unsafe impl<E: Environment, const BYTES: usize> Sync for EarlyHeap<E, BYTES> {}

impl<E, const BYTES: usize> core::fmt::Debug for EarlyHeap<E, BYTES> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EarlyHeap").field("bytes", &BYTES).finish_non_exhaustive()
    }
}

impl<E: Environment, const BYTES: usize> Default for EarlyHeap<E, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Environment, const BYTES: usize> EarlyHeap<E, BYTES> {
    const SIZE_IS_USEFUL: () = assert!(BYTES == 0 || BYTES >= 64, "too small for a block");

    /// Empty. The array is set up at the first use.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::SIZE_IS_USEFUL;
        let memory = Memory(UnsafeCell::new([MaybeUninit::uninit(); BYTES]));
        Self { memory, list: Lock::new(None) }
    }

    fn start(&self) -> *mut u8 {
        self.memory.0.get().cast()
    }

    /// Whether a block is one of this heap's: one subtraction and one test.
    #[must_use]
    #[inline(always)]
    pub fn owns(&self, pointer: *const u8) -> bool {
        pointer.addr().wrapping_sub(self.start().addr()) < BYTES
    }

    /// Allocates `layout`; null when there is no room, and for size 0.
    #[cold]
    #[inline(never)]
    pub fn alloc(&self, layout: Layout) -> *mut u8 {
        if BYTES == 0 || layout.size() == 0 {
            return null_mut();
        }
        let mut list = self.list.lock();
        let list = list.get_or_insert_with(|| {
            // SAFETY: the array is ours for ever, and nobody has seen it yet.
            unsafe { List::new(self.start(), BYTES) }
        });
        list.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    /// Frees a block. One that is not live is found by the list's own checks,
    /// which panic.
    ///
    /// # Safety
    ///
    /// Caller: `pointer` is a live block of this heap, allocated with
    /// `layout`; nobody uses it any more.
    #[cold]
    #[inline(never)]
    pub unsafe fn dealloc(&self, pointer: NonNull<u8>, layout: Layout) {
        if let Some(list) = self.list.lock().as_mut().filter(|_| self.owns(pointer.as_ptr())) {
            // SAFETY: by the contract.
            unsafe { list.deallocate(pointer, layout) };
        }
    }

    /// Calls `work`, which does not use this heap, while nobody else does so.
    pub(super) fn alone<R>(&self, work: impl FnOnce() -> R) -> R {
        let _list = self.list.lock();
        work()
    }

    /// Bytes in live blocks, as the list rounds them.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.list.lock().as_ref().map_or(0, List::used)
    }
}
