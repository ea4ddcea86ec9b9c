//! An allocator for tests: it knows what is live, and refuses when told.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use allocator_api2::alloc::{AllocError, Allocator, Global};

/// The host's memory, up to a limit.
#[derive(Debug)]
pub(crate) struct Counting {
    live: Mutex<BTreeMap<usize, Layout>>,
    limit: Mutex<usize>,
}

impl Counting {
    /// Hands out up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { live: Mutex::default(), limit: Mutex::new(limit) }
    }

    /// Hands out up to `limit` bytes from now on.
    pub(crate) fn limit(&self, limit: usize) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// Bytes that are live.
    pub(crate) fn bytes(&self) -> usize {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.values().map(Layout::size).sum()
    }
}

// SAFETY: forwards to the host's allocator.
unsafe impl Allocator for &Counting {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let limit = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if layout.size() > limit.saturating_sub(self.bytes()) {
            return Err(AllocError);
        }
        let block = Global.allocate(layout)?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.insert(block.cast::<u8>().addr().get(), layout);
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(live.remove(&block.addr().get()), Some(layout), "a block that was handed out");
        // SAFETY: handed out with that layout, and by the contract given up.
        unsafe { Global.deallocate(block, layout) };
    }
}
