//! The common calls of [`Tier::Moderate`] in few instructions: blocks in the
//! first region, aligned as every block is, whose raw object the cache has or has
//! room for. They do what the long way does, in one go; whatever is unusual,
//! mistakes above all, is left to that, and nothing has happened.
//!
//! ```text
//! alloc  key? ─ class ─ front end pop ─ live already? ─ header
//! free   key? ─ class byte ─ header live? ─ header: freed ─ front end push
//! ```

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::header::{ALIGN, Block, HEADER, Header};
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::origin::{Caller, Origin};
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::tier::Tier;
use crate::base::units::PAGE_SIZE;
use crate::cache::FrontEnd;
use crate::heap::Heap;

/// The alignment of most blocks, as in their headers.
const SHIFT: u32 = ALIGN.trailing_zeros();

impl<C: Config> Heap<C> {
    /// Before the first checked call.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_checks(&self) {
        self.checks.raw_below.store(self.lower.regions.first_end().max(1), Relaxed);
        self.lower.regions.directory.close();
        if C::tier() == Tier::Moderate {
            // Relaxed: a number, which hands nothing over.
            self.checks.moderate_key.store(self.checks.key(), Relaxed);
        }
    }

    /// The key of headers in [`Tier::Moderate`]; 0 in others.
    #[inline(always)]
    fn moderate_key(&self) -> usize {
        // Relaxed: a number.
        if C::MAX_TIER.checks_calls() { self.checks.moderate_key.load(Relaxed) } else { 0 }
    }

    /// A block of `size` bytes, aligned to 16, in [`Tier::Moderate`], if the cache
    /// has one; null if not, and in other tiers. For doors of their own, which then
    /// go on to [`alloc_class`](Self::alloc_class). For `caller`, in reports.
    ///
    /// # Safety
    ///
    /// Caller: `size` is below [`TABLED`](crate::base::class::TABLED).
    #[inline(always)]
    pub unsafe fn pop_checked(&self, size: usize, caller: Caller) -> *mut u8 {
        // SAFETY: by the contract.
        self.pop_headed(unsafe { Class::of_headed::<HEADER>(size) }, size, caller)
    }

    /// [`pop_checked`](Self::pop_checked) for sizes from
    /// [`TABLED`](crate::base::class::TABLED) on; null, too, for those whose raw block
    /// is no object of a slab.
    #[inline(always)]
    pub fn pop_checked_medium(&self, size: usize, caller: Caller) -> *mut u8 {
        match Class::of_headed_medium::<HEADER>(size) {
            Some(class) => self.pop_headed(class, size, caller),
            None => null_mut(),
        }
    }

    /// A block of `size` bytes behind a header, in an object of `class`.
    #[inline(always)]
    fn pop_headed(&self, class: Class, size: usize, caller: Caller) -> *mut u8 {
        if self.moderate_key() == 0 {
            return null_mut();
        }
        let Some(thread) = C::Env::known_thread() else { return null_mut() };
        let Some(raw) = NonNull::new(self.lower.front.pop_checked(class)) else {
            return null_mut();
        };
        // SAFETY: the raw block is ours, of so many bytes at least.
        let pointer = unsafe { raw.add(HEADER) };
        // SAFETY: as above, aligned as every raw block of such a class. The key once
        // more: a load, where another register would be two.
        let header = unsafe { Header::of(pointer, self.moderate_key()) };
        if !header.renew(Block { size, shift: SHIFT }, Origin { thread, caller }) {
            self.handed_out_twice(pointer);
        }
        pointer.as_ptr()
    }

    #[cold]
    #[inline(never)]
    fn handed_out_twice(&self, pointer: NonNull<u8>) -> ! {
        self.fault(FaultKind::Corrupted, pointer)
    }

    /// Frees a block in [`Tier::Moderate`] if the cache has room for it; `false`
    /// where the long way has to be gone, in other tiers, and for any pointer
    /// that is no live block of the heap's. For doors that free without a layout,
    /// which then go on to [`dealloc_missed`](Self::dealloc_missed). For `caller`,
    /// in reports.
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free), but that any pointer, also null, is
    /// looked at first.
    #[inline(always)]
    pub unsafe fn push_checked(&self, pointer: *mut u8, caller: Caller) -> bool {
        self.free_moderate(pointer, None, caller)
    }

    #[inline(always)]
    pub(super) fn free_moderate(
        &self,
        pointer: *mut u8,
        layout: Option<Layout>,
        caller: Caller,
    ) -> bool {
        let key = self.moderate_key();
        if key == 0 {
            return false;
        }
        let raw = pointer.wrapping_sub(HEADER);
        // SAFETY: a block has been given out, or there is no region.
        let class_of = |byte| unsafe { self.lower.regions.first_class_of(byte) };
        let Some(class) = class_of(pointer) else { return false };
        // A block of no bytes may lie behind the pages of its slab.
        let in_one_page = pointer.addr() & (PAGE_SIZE - 1) >= HEADER;
        if !in_one_page && class_of(raw) != Some(class) {
            return false;
        }
        // SAFETY: in the first region, so not null; a multiple of 8, and all of the
        // header in committed pages.
        let header = unsafe { Header::of(NonNull::new_unchecked(pointer), key) };
        let Some((size, tag)) = header.live(SHIFT) else { return false };
        let as_said = layout.is_none_or(|layout| layout.size() == size && layout.align() <= ALIGN);
        let Some(thread) = C::Env::known_thread() else { return false };
        if !as_said || !header.retire_tagged::<C::Env>(tag, Origin { thread, caller }) {
            return false;
        }
        // SAFETY: the raw block's class, and given up.
        let hit = unsafe { self.lower.front.push_checked(class, raw) };
        if !hit {
            // SAFETY: as above.
            self.free_retired(unsafe { NonNull::new_unchecked(raw) }, class);
        }
        true
    }

    /// The cache has no room for a raw block.
    #[cold]
    #[inline(never)]
    fn free_retired(&self, raw: NonNull<u8>, class: Class) {
        self.free_missed(raw, class);
    }
}
