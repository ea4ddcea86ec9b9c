//! Allocation.

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::{NonNull, null_mut};

use super::Heap;
use crate::base::class::{Class, TABLED};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::origin::Caller;
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, PageCount};
use crate::cache::{FrontEnd, Lower};
use crate::provider::{Capabilities, PageProvider};
use crate::region::{Contents, Located, Near, Run};

/// Dirty bytes from which on a block that is to be zero may be purged instead of written,
/// where at most one in [`SPARSE`] has memory behind it ...
const PURGED: usize = 1 << 20;
const SPARSE: usize = 32;

/// ... and from which on where less than half has: to write all would more than double
/// what is resident. With fewer, 8 MiB of which an eighth is touched each time take four
/// times as long: the page faults take longer than to write all.
const PURGED_LARGE: usize = 16 << 20;

/// What a new block must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Any,
    Zero,
}

impl<C: Config> Heap<C> {
    /// The class that serves a layout in this heap.
    #[inline(always)]
    pub(super) fn class(layout: Layout) -> Class {
        Self::exact(Class::of(layout.size(), layout.align()), layout.size())
    }

    /// The class, if its runs may serve `size` bytes.
    #[inline(always)]
    pub(super) fn exact(class: Class, size: usize) -> Class {
        let wasteful = !C::LAZY_PAGES && class.is_run() && size <= class.size() - PAGE_SIZE;
        if wasteful { Class::LARGE } else { class }
    }

    /// Allocates `layout`. Null when memory is short or the layout cannot be
    /// had (an alignment above the address space's, a size above 4 TiB). Size
    /// 0 gives a block of its own.
    #[inline]
    pub fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.is_open_for(layout.size()) {
            return self.alloc_medium(layout, Fill::Any);
        }
        // SAFETY: as just tested.
        let (class, hit) = unsafe {
            let class = Class::of_tabled(layout.size(), layout.align());
            (class, self.pop_first(class))
        };
        if hit.is_null() { self.alloc_slow(layout, class, Fill::Any, Caller::UNKNOWN) } else { hit }
    }

    /// Allocates `layout`, all zero. As [`alloc`](Self::alloc) otherwise;
    /// large blocks of fresh memory are known to be zero and not written.
    #[inline]
    pub fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !self.is_open_for(layout.size()) {
            return self.alloc_medium(layout, Fill::Zero);
        }
        // SAFETY: as just tested.
        let (class, hit) = unsafe {
            let class = Class::of_tabled(layout.size(), layout.align());
            (class, self.pop_first(class))
        };
        if hit.is_null() {
            return self.alloc_slow(layout, class, Fill::Zero, Caller::UNKNOWN);
        }
        // SAFETY: a block of the class, at least the layout's size.
        unsafe { hit.write_bytes(0, layout.size()) };
        hit
    }

    /// Sizes from [`TABLED`] on, and all while the
    /// front end is not open for hits: a few instructions more.
    #[inline(never)]
    fn alloc_medium(&self, layout: Layout, fill: Fill) -> *mut u8 {
        // A small size came here because there were no hits yet.
        if layout.size() >= TABLED && self.is_open() {
            let class = Self::class(layout);
            // SAFETY: as just tested.
            let hit = unsafe { self.pop_first(class) };
            if hit.is_null() {
                return self.alloc_medium_slow(layout, class, fill);
            }
            if fill == Fill::Zero {
                // SAFETY: a block of the class, at least the layout's size.
                unsafe { hit.write_bytes(0, layout.size()) };
            }
            return hit;
        }
        self.alloc_closed(layout, fill)
    }

    /// While the front end is not open for hits. Not a part of
    /// [`alloc_medium`](Self::alloc_medium): it would save registers for this.
    #[cold]
    #[inline(never)]
    fn alloc_closed(&self, layout: Layout, fill: Fill) -> *mut u8 {
        if Self::checks_calls() {
            return self.alloc_checked(layout, fill, Caller::UNKNOWN);
        }
        let block = self.alloc_raw(layout, fill);
        self.checked_meanwhile(block, layout, fill, Caller::UNKNOWN)
    }

    #[cold]
    #[inline(never)]
    fn alloc_medium_slow(&self, layout: Layout, class: Class, fill: Fill) -> *mut u8 {
        match self.alloc_sampled_by_layout(layout, fill) {
            Some(block) => block.as_ptr(),
            None => self.alloc_slow(layout, class, fill, Caller::UNKNOWN),
        }
    }

    /// Allocates without asking for the tier.
    #[inline]
    pub(super) fn alloc_raw(&self, layout: Layout, fill: Fill) -> *mut u8 {
        let class = Self::class(layout);
        let hit = self.lower.front.pop(class);
        if hit.is_null() {
            return self.alloc_uncached(layout, class, fill);
        }
        if fill == Fill::Zero {
            // SAFETY: a block of the class, at least the layout's size.
            unsafe { hit.write_bytes(0, layout.size()) };
        }
        hit
    }

    /// Whether a request of `size` is worth a [`pop_first`](Self::pop_first);
    /// not from [`TABLED`] on. For doors of their own.
    #[inline(always)]
    pub fn is_open_for(&self, size: usize) -> bool {
        !C::TIER.checks_calls() && self.lower.front.is_open_for(size)
    }

    /// Whether there may be hits at all, of whatever size: then the hits of classes
    /// that no table tells are worth a [`pop_first`](Self::pop_first), too.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.is_open_for(0)
    }

    /// An object of `class` from the cache; null on a miss.
    ///
    /// # Safety
    ///
    /// Caller: has been told by [`is_open_for`](Self::is_open_for) or
    /// [`is_open`](Self::is_open) that it is.
    #[inline(always)]
    pub unsafe fn pop_first(&self, class: Class) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { self.lower.front.pop_first(class) }
    }

    /// The same at any time; before there are hits from any cache there may be.
    #[inline(always)]
    pub fn pop_cached(&self, class: Class) -> *mut u8 {
        if self.is_open() {
            // SAFETY: as just tested.
            return unsafe { self.pop_first(class) };
        }
        if Self::checks_calls() { null_mut() } else { self.lower.front.pop(class) }
    }

    /// Allocates an object of a class known beforehand, for C's `malloc`:
    /// `size` decides when the class is [`Class::LARGE`], aligned to pages.
    /// For `caller`, in reports. The block may be a sampled one
    /// ([`Config::sampling`]), so it is to be freed and reallocated by functions
    /// that are not told its layout, or by
    /// [`dealloc_missed`](Self::dealloc_missed).
    #[inline]
    pub fn alloc_class(&self, class: Class, size: usize, caller: Caller) -> *mut u8 {
        self.alloc_class_with(class, size, Fill::Any, caller)
    }

    /// [`alloc_class`](Self::alloc_class), with `size` zero bytes.
    #[inline]
    pub fn alloc_class_zeroed(&self, class: Class, size: usize, caller: Caller) -> *mut u8 {
        self.alloc_class_with(class, size, Fill::Zero, caller)
    }

    fn alloc_class_with(&self, class: Class, size: usize, fill: Fill, caller: Caller) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(size, 1) else { return null_mut() };
        if Self::checks_calls() {
            return self.alloc_checked(layout, fill, caller);
        }
        match self.alloc_sampled(size, fill, caller) {
            Some(block) => block.as_ptr(),
            None => self.alloc_slow(layout, class, fill, caller),
        }
    }

    /// The layout comes first, as in the callers: a jump, no move of registers.
    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout, class: Class, fill: Fill, caller: Caller) -> *mut u8 {
        if Self::checks_calls() {
            return self.alloc_checked(layout, fill, caller);
        }
        let block = self.alloc_uncached(layout, class, fill);
        self.checked_meanwhile(block, layout, fill, caller)
    }

    /// The block, or another one where the tier was found out on the way.
    #[inline]
    fn checked_meanwhile(
        &self,
        block: *mut u8,
        layout: Layout,
        fill: Fill,
        caller: Caller,
    ) -> *mut u8 {
        if !Self::checks_calls() {
            return block;
        }
        if let Some(block) = NonNull::new(block) {
            self.free_raw(block);
        }
        self.alloc_checked(layout, fill, caller)
    }

    #[inline]
    pub(super) fn alloc_uncached(&self, layout: Layout, class: Class, fill: Fill) -> *mut u8 {
        self.lower.front.prepare();
        self.free_deferred();
        match self.alloc_missed(class, layout, fill) {
            Some(block) => block.as_ptr(),
            // What no memory could hold is refused at once.
            None if !self.lower.regions.can_hold(&self.lower.provider, layout) => null_mut(),
            None => self.alloc_after_reclaim(class, layout, fill),
        }
    }

    /// Out of memory: gives back all there is, and tries once more.
    #[cold]
    #[inline(never)]
    fn alloc_after_reclaim(&self, class: Class, layout: Layout, fill: Fill) -> *mut u8 {
        self.cache.registry.note_shortage(C::Env::now_ms());
        self.reclaim();
        self.alloc_missed(class, layout, fill).map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline(always)]
    fn alloc_missed(&self, class: Class, layout: Layout, fill: Fill) -> Option<NonNull<u8>> {
        if class.is_small() {
            self.alloc_object(class, layout, fill)
        } else {
            self.alloc_run(class, layout, fill)
        }
    }

    #[inline(always)]
    fn alloc_object(&self, class: Class, layout: Layout, fill: Fill) -> Option<NonNull<u8>> {
        let object = self.cache.refill(&self.lower, class)?;
        if fill == Fill::Zero {
            // SAFETY: an object of the class, ours.
            unsafe { object.write_bytes(0, layout.size()) };
        }
        Some(object)
    }

    /// A run of pages for a large block.
    fn alloc_run(&self, class: Class, layout: Layout, fill: Fill) -> Option<NonNull<u8>> {
        if class.is_run() {
            self.cache.note_run_miss(&self.lower);
        }
        let run = self.take_run(class, layout)?;
        if fill == Fill::Zero && !run.zero {
            self.clear(&run, layout.size());
        }
        Some(run.start)
    }

    /// Makes the first `size` bytes of a run zero that was just taken, where they may be
    /// anything else.
    #[inline(never)]
    fn clear(&self, run: &Run, size: usize) {
        let at = self.lower.regions.locate(run.start.as_ptr());
        let dirty = at.map_or(0..run.pages.get(), |at| at.dirty_pages(run));
        let from = PageCount(dirty.start).bytes().min(size);
        let bytes = PageCount(dirty.end).bytes().min(size) - from;
        if C::LAZY_PAGES
            && bytes >= PURGED
            && let Some(at) = at
            && self.purge_sparse(run, at, dirty)
        {
            return;
        }
        // SAFETY: inside the run, which is ours.
        unsafe { run.start.add(from).write_bytes(0, bytes) };
    }

    /// Gives back what is behind the dirty pages of a run that was just taken, if it is
    /// little: who uses a few pages of a block is likely to do so again, who fills it
    /// would have to fault all of it in. Whether they are zero now.
    fn purge_sparse(&self, run: &Run, at: Located<'_>, dirty: Range<u32>) -> bool {
        let Lower { regions, provider, .. } = &self.lower;
        let bytes = PageCount(dirty.end - dirty.start).bytes();
        // SAFETY: inside the run.
        let start = unsafe { run.start.add(PageCount(dirty.start).bytes()) };
        let whole = (start.addr().get() | bytes).is_multiple_of(provider.page_size());
        let can = Capabilities::PURGE | Capabilities::PURGE_ZEROES;
        if !whole || !at.capabilities().contains(can) {
            return false;
        }
        let most = if bytes >= PURGED_LARGE { bytes / 2 - 1 } else { bytes / SPARSE };
        // SAFETY: of a used run, and in whole pages.
        if unsafe { provider.resident(start, bytes) } > most {
            return false;
        }
        // SAFETY: the run is ours, and nothing in it.
        let contents = unsafe { regions.purge_tail(provider, at, dirty.start..run.pages.get()) };
        contents == Contents::Zero
    }

    /// A run for `layout`, whose class, not a small one, is `class`; the
    /// alignment may be larger than the class was made for.
    pub(super) fn take_run(&self, class: Class, layout: Layout) -> Option<Run> {
        let pages = pages_for(class, layout.size())?;
        let align = u32::try_from((layout.align() >> PAGE_SHIFT).max(1)).ok()?;
        let near = Near::First(self.lower.source());
        self.lower.regions.take(&self.lower.provider, near, pages, align, class).ok()
    }
}

/// Pages of a run for `size` bytes of a class that is not a small one.
#[inline]
pub(super) fn pages_for(class: Class, size: usize) -> Option<PageCount> {
    if class.is_run() { Some(class.pages()) } else { PageCount::covering(size.max(1)) }
}

#[cfg(test)]
#[path = "alloc_tests.rs"]
mod tests;
