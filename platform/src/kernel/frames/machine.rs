//! A machine for tests: a window of physical memory in a buffer of the host.

extern crate std;

use core::ptr::NonNull;
use std::alloc::Layout;

use super::{DirectMap, PhysAddr};

/// 4 GiB.
pub(super) const FOUR_G: u64 = 1 << 32;

/// Physical memory from `base` on, zero and untouched at first.
pub(super) struct Window {
    base: u64,
    memory: NonNull<u8>,
    layout: Layout,
}

impl Drop for Window {
    /// To be dropped after the allocators whose tables are in it.
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}

impl Window {
    /// `bytes` bytes at the physical address `base`.
    pub(super) fn new(base: u64, bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, 64 << 10).expect("a layout");
        // SAFETY: not empty.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        // What is exposed is what a direct map's pointers are allowed to.
        memory.expose_provenance();
        Self { base, memory: NonNull::new(memory).expect("memory"), layout }
    }

    /// The physical address `offset` bytes into the window.
    pub(super) fn at(&self, offset: u64) -> PhysAddr {
        PhysAddr::new(self.base + offset)
    }

    pub(super) fn direct(&self) -> DirectMap {
        DirectMap::with_offset(self.memory.addr().get().wrapping_sub(self.base as usize))
    }
}
