//! The common calls of [`Tier::Moderate`](crate::base::tier::Tier) in few
//! instructions: small blocks in the first region, aligned as every block is,
//! whose raw object the cache has or has room for. They do what the long way
//! does, in one go; whatever is unusual, mistakes above all, is left to that.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::by;
use super::header::{ALIGN, Block, HEADER, Header};
use crate::base::class::{Class, TABLED};
use crate::base::config::Config;
use crate::base::origin::Caller;
use crate::base::units::PAGE_SIZE;
use crate::cache::FrontEnd;
use crate::heap::Heap;
use crate::heap::alloc::Fill;

/// The alignment of most blocks, as in their headers.
const SHIFT: u32 = ALIGN.trailing_zeros();

impl<C: Config> Heap<C> {
    /// A block whose raw object the cache has; null where the long way has to be
    /// gone, and nothing has happened.
    #[inline(always)]
    pub(super) fn alloc_moderate(&self, layout: Layout, fill: Fill, caller: Caller) -> *mut u8 {
        let size = layout.size();
        if size >= TABLED - HEADER || layout.align() > ALIGN {
            return core::ptr::null_mut();
        }
        // SAFETY: as just tested.
        let class = unsafe { Class::of_tabled(size + HEADER, ALIGN) };
        let raw = self.front.pop(class);
        let Some(raw) = NonNull::new(raw) else { return raw };
        // SAFETY: the raw block is ours, of so many bytes at least.
        let pointer = unsafe { raw.add(HEADER) };
        if fill == Fill::Zero {
            // SAFETY: as above.
            unsafe { pointer.write_bytes(0, size) };
        }
        self.dress(pointer, Block { size, shift: SHIFT }, 0, by::<C>(caller))
    }

    /// Frees a block; `false` where the long way has to be gone, and nothing has
    /// happened.
    #[inline(always)]
    pub(super) fn free_moderate(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        caller: Caller,
    ) -> bool {
        let address = pointer.addr().get();
        let raw = pointer.as_ptr().wrapping_sub(HEADER);
        // SAFETY: a block has been given out, or there is no region.
        let class_of = |byte| unsafe { self.regions.first_class_of(byte) };
        let Some(class) = class_of(raw) else { return false };
        let in_one_page = address & (PAGE_SIZE - 1) >= HEADER;
        let last_word = pointer.as_ptr().wrapping_sub(size_of::<usize>());
        if !address.is_multiple_of(ALIGN) || !in_one_page && class_of(last_word) != Some(class) {
            return false;
        }
        // SAFETY: aligned, and all of it in committed pages of the first region.
        let header = unsafe { Header::of(pointer, self.checks.key()) };
        let Some(size) = header.live_size(SHIFT) else { return false };
        let as_said = layout.is_none_or(|layout| layout.size() == size && layout.align() <= ALIGN);
        let block = Block { size, shift: SHIFT };
        if !as_said || !class.is_small() || !header.retire::<C::Env>(block, by::<C>(caller)) {
            return false;
        }
        // SAFETY: the raw block's class, and given up.
        if !unsafe { self.front.push(class, raw) } {
            // SAFETY: in the first region, so not null.
            self.free_missed(unsafe { NonNull::new_unchecked(raw) }, class);
        }
        true
    }
}
