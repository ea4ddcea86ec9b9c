//! Reallocation, and the sizes of blocks, in checked tiers.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::header::{ALIGN, Block, HEADER, Header, State};
use super::{Found, by};
use crate::base::config::Config;
use crate::base::fault::FaultKind;
use crate::base::origin::Caller;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::tier::Tier;
use crate::heap::Heap;
use crate::heap::alloc::Fill;

impl<C: Config> Heap<C> {
    /// Makes a block `new_size` bytes large; null when memory is short, and
    /// the block is as it was.
    #[cold]
    pub(in crate::heap) fn realloc_checked(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        new_size: usize,
        caller: Caller,
    ) -> *mut u8 {
        let tier = C::tier();
        let Some(Found { header, block, .. }) = self.verify(pointer, layout, tier) else {
            return self.adopt_raw(pointer, new_size, caller);
        };
        let Ok(new) = Layout::from_size_align(new_size, block.align()) else { return null_mut() };
        if tier == Tier::Full || block.head() > HEADER {
            let moved = self.alloc_checked(new, Fill::Any, caller);
            if !moved.is_null() {
                // SAFETY: both are live and large enough.
                unsafe { pointer.as_ptr().copy_to_nonoverlapping(moved, block.size.min(new_size)) };
                self.free_checked(pointer, None, caller);
            }
            return moved;
        }
        let new = Block::of(new);
        let (Some(old_raw), Some(new_raw)) = (block.raw_layout(0), new.raw_layout(0)) else {
            return null_mut();
        };
        // The old place, if it is left, tells that it was freed.
        let by = by::<C>(caller);
        if !header.retire::<C::Env>(block, by) {
            self.fault_of(FaultKind::DoubleFree, pointer, header);
        }
        // SAFETY: the raw block of a live one, of that layout.
        let raw = unsafe { self.realloc_raw(pointer.sub(HEADER), old_raw, new_raw.size()) };
        match NonNull::new(raw) {
            Some(raw) => {
                // SAFETY: ours, as long as header and block.
                let pointer = unsafe { raw.add(HEADER) };
                // SAFETY: as above.
                let header = unsafe { Header::of(pointer, self.checks.key()) };
                if !header.renew(new, by) {
                    self.fault(FaultKind::Corrupted, pointer);
                }
                pointer.as_ptr()
            }
            None => {
                header.revive(block);
                null_mut()
            }
        }
    }

    /// Moves a block from before the tier was known into one with a header.
    fn adopt_raw(&self, pointer: NonNull<u8>, new_size: usize, caller: Caller) -> *mut u8 {
        let Some(size) = self.usable_raw(pointer) else {
            self.fault(FaultKind::InvalidPointer, pointer)
        };
        let Ok(new) = Layout::from_size_align(new_size, ALIGN) else { return null_mut() };
        let moved = self.alloc_checked(new, Fill::Any, caller);
        if !moved.is_null() {
            // SAFETY: both are live and large enough.
            unsafe { pointer.as_ptr().copy_to_nonoverlapping(moved, size.min(new_size)) };
            self.free_raw(pointer);
        }
        moved
    }

    /// Bytes usable at a live block: those it was asked for with.
    pub(in crate::heap) fn usable_checked(&self, pointer: NonNull<u8>) -> Option<usize> {
        if C::tier() == Tier::Full
            && let Some(guarded) = self.guarded_at(pointer.as_ptr())
            && (!guarded.is(pointer) || guarded.state == State::Freed)
        {
            return None;
        }
        match self.header_of(pointer).and_then(|header| header.read()) {
            Some((block, State::Live)) => Some(block.size),
            Some((_, State::Freed)) => None,
            None if pointer.addr().get() < self.checks.raw_below.load(Relaxed) => {
                self.usable_raw(pointer)
            }
            None => None,
        }
    }
}
