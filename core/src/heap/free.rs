//! Deallocation.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::Heap;
use crate::base::class::{CLASSES, Class, TABLED};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::origin::Caller;
use crate::base::units::PAGE_SIZE;
use crate::cache::{Depth, FrontEnd};
use crate::region::{Contents, Located};

/// What every block is aligned to, in bytes.
pub(super) const SMALLEST_ALIGN: usize = 8;

/// What every block of a size from [`TABLED`] on is aligned to, in bytes; but for
/// sampled ones that were allocated by layout, which for that reason are not.
pub(super) const MEDIUM_ALIGN: usize = 64;

const _: () = {
    let mut class = Class::of(TABLED, 1).index();
    while class < CLASSES {
        let align = Class::from_index(class as u8).natural_align();
        assert!(align >= MEDIUM_ALIGN, "a free by layout finds sampled blocks by this");
        class += 1;
    }
};

/// Whether a block of a size from [`TABLED`] on is one that caches may hold.
#[inline(always)]
pub(super) fn is_of_a_class(pointer: NonNull<u8>) -> bool {
    pointer.addr().get().is_multiple_of(MEDIUM_ALIGN)
}

#[inline(always)]
fn is_aligned(pointer: NonNull<u8>) -> bool {
    pointer.addr().get().is_multiple_of(SMALLEST_ALIGN)
}

impl<C: Config> Heap<C> {
    /// Frees a block, given the layout it was allocated with.
    ///
    /// A pointer or layout that does not belong together is reported through
    /// [`Environment::fatal`], at the latest when the object is flushed.
    ///
    /// # Safety
    ///
    /// Caller: `pointer` is a live block of this heap, allocated with
    /// `layout`; nobody uses it any more.
    #[inline]
    pub unsafe fn dealloc(&self, pointer: NonNull<u8>, layout: Layout) {
        if C::TIER.checks_calls() {
            return self.free_checked(pointer, Some(layout), Caller::UNKNOWN);
        }
        let (size, align) = (layout.size(), layout.align());
        if size >= TABLED {
            return self.dealloc_medium(pointer, layout);
        }
        // SAFETY: the size has just been tested.
        let class = unsafe { Class::of_tabled(size, align) };
        // An odd pointer is no block's. It would read as a mark, and the objects
        // below it be lost; to make it even is an instruction less than to test.
        // SAFETY: no block is at address 0 or 1.
        let pointer =
            unsafe { NonNull::new_unchecked(pointer.as_ptr().map_addr(|address| address & !1)) };
        // SAFETY: by the contract, and a live block has been given out.
        if !unsafe { self.lower.front.push_first(class, pointer.as_ptr()) } {
            self.dealloc_slow(pointer, layout, class);
        }
    }

    /// The arguments of `dealloc` in their places: a jump.
    #[cold]
    #[inline(never)]
    fn dealloc_slow(&self, pointer: NonNull<u8>, layout: Layout, class: Class) {
        if Self::checks_calls() {
            return self.free_checked(pointer, Some(layout), Caller::UNKNOWN);
        }
        self.free_slow(pointer, class);
    }

    /// Sizes from [`TABLED`] on.
    #[inline(never)]
    fn dealloc_medium(&self, pointer: NonNull<u8>, layout: Layout) {
        let class = Self::class(layout);
        // SAFETY: the contract of `dealloc`, and a live block has been given out.
        let push = || unsafe { self.lower.front.push_first(class, pointer.as_ptr()) };
        if Self::checks_calls() || !is_of_a_class(pointer) || !push() {
            self.dealloc_medium_slow(pointer, layout, class);
        }
    }

    /// Also for what no cache holds: a sampled block, or none.
    #[cold]
    #[inline(never)]
    fn dealloc_medium_slow(&self, pointer: NonNull<u8>, layout: Layout, class: Class) {
        if Self::checks_calls() {
            self.free_checked(pointer, Some(layout), Caller::UNKNOWN);
        } else if is_of_a_class(pointer) {
            self.free_slow(pointer, class);
        } else if !self.free_sampled(pointer, Caller::UNKNOWN) {
            self.fault(FaultKind::InvalidPointer, pointer);
        }
    }

    /// Frees a block without its layout.
    ///
    /// # Safety
    ///
    /// Caller: `pointer` is a live block of this heap; nobody uses it any
    /// more.
    #[inline]
    pub unsafe fn free(&self, pointer: NonNull<u8>) {
        if C::TIER.checks_calls() {
            return self.free_checked(pointer, None, Caller::UNKNOWN);
        }
        // SAFETY: by the contract.
        let Some(class) = (unsafe { self.lower.regions.first_class_of(pointer.as_ptr()) }) else {
            return self.free_further(pointer);
        };
        // SAFETY: by the contract, and a live block has been given out.
        if !unsafe { self.lower.front.push_first(class, pointer.as_ptr()) } {
            self.free_slow(pointer, class);
        }
    }

    /// Frees a block after [`push_unsized`](Self::push_unsized) has missed, told
    /// the layout it was asked for with, if the caller was. For `caller`, in
    /// reports.
    ///
    /// # Safety
    ///
    /// Caller: as for [`dealloc`](Self::dealloc), but that the block, and not
    /// the layout, decides.
    #[inline]
    pub unsafe fn dealloc_missed(
        &self,
        pointer: NonNull<u8>,
        layout: Option<Layout>,
        caller: Caller,
    ) {
        if Self::checks_calls() {
            return self.free_checked(pointer, layout, caller);
        }
        self.free_unchecked(pointer, caller);
    }

    #[cold]
    #[inline(never)]
    fn free_unchecked(&self, pointer: NonNull<u8>, caller: Caller) {
        // SAFETY: the contract of `dealloc_missed`.
        match unsafe { self.lower.regions.first_class_of(pointer.as_ptr()) } {
            Some(class) => self.free_slow(pointer, class),
            None if self.free_sampled(pointer, caller) => {}
            None => self.free_missed(pointer, Class::LARGE),
        }
    }

    /// Puts a block into the cache, for doors that free without a layout;
    /// `false` on a miss, and nothing has changed.
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free); or the pointer is null, a miss.
    #[inline(always)]
    pub unsafe fn push_unsized(&self, pointer: *mut u8) -> bool {
        if C::TIER.checks_calls() {
            return false;
        }
        // SAFETY: by the contract: null is in no region, and a live block has
        // been given out.
        unsafe {
            match self.lower.regions.directory.hit_class_of(pointer) {
                Some(class) => self.lower.front.push_first(class, pointer),
                None => false,
            }
        }
    }

    /// Puts a block into the cache; `false` on a miss, and nothing has
    /// changed.
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free), and `class` is the block's or
    /// [`Class::LARGE`], with which any pointer misses.
    #[inline(always)]
    pub unsafe fn push_cached(&self, class: Class, pointer: *mut u8) -> bool {
        let aligned = pointer.addr().is_multiple_of(SMALLEST_ALIGN) && !C::TIER.checks_calls();
        // SAFETY: by the contract, and a live block has been given out.
        aligned && unsafe { self.lower.front.push_first(class, pointer) }
    }

    /// A block that is not in the first region, or none.
    #[cold]
    #[inline(never)]
    fn free_further(&self, pointer: NonNull<u8>) {
        if Self::checks_calls() {
            return self.free_checked(pointer, None, Caller::UNKNOWN);
        }
        self.free_missed(pointer, Class::LARGE);
    }

    /// The pointer comes first, as in the callers: a jump, no move of registers.
    #[cold]
    #[inline(never)]
    fn free_slow(&self, pointer: NonNull<u8>, class: Class) {
        if Self::checks_calls() {
            return self.free_checked(pointer, None, Caller::UNKNOWN);
        }
        // SAFETY: given up by the caller; or the class misses.
        if !unsafe { self.lower.front.push_again(class, pointer.as_ptr()) } {
            self.free_missed(pointer, class);
        }
    }

    #[cold]
    pub(super) fn free_missed(&self, pointer: NonNull<u8>, class: Class) {
        if !is_aligned(pointer) {
            self.fault(FaultKind::InvalidPointer, pointer);
        }
        self.free_deferred();
        let depth = if class.is_small() {
            self.cache.overflow(&self.lower, class, pointer)
        } else {
            self.free_located(pointer, class)
        };
        if depth == Depth::Deeper {
            self.tick(C::Env::now_ms());
        }
    }

    /// A large block; or a small one outside the first region.
    fn free_located(&self, pointer: NonNull<u8>, class: Class) -> Depth {
        match self.lower.regions.locate(pointer.as_ptr()) {
            Some(at) if at.class().is_small() => {
                return self.cache.overflow_deeper(&self.lower, at.class(), pointer);
            }
            Some(at) => self.free_run(class, pointer, at),
            None if self.free_sampled(pointer, Caller::UNKNOWN) => {}
            None => self.fault(FaultKind::InvalidPointer, pointer),
        }
        Depth::Deeper
    }

    fn free_run(&self, class: Class, pointer: NonNull<u8>, at: Located<'_>) {
        let aligned = pointer.addr().get().is_multiple_of(PAGE_SIZE);
        let Some(pages) = at.run().filter(|_| aligned) else {
            let free = aligned && at.is_in_free_run();
            let kind = if free { FaultKind::DoubleFree } else { FaultKind::InvalidPointer };
            self.fault(kind, pointer);
        };
        let own = at.class();
        if class.is_run() && class != own || own.is_run() && pages < own.pages() {
            self.fault(FaultKind::WrongLayout, pointer);
        }
        let kept = own.is_run() && self.cache.keep_run(&self.lower, own, pointer);
        if !kept && self.lower.regions.give(pointer, Contents::Dirty, C::Env::now_ms()).is_err() {
            self.fault(FaultKind::DoubleFree, pointer);
        }
    }

    /// Whether a block of the heap could start here, used or not.
    pub(super) fn is_block_start(&self, pointer: NonNull<u8>) -> bool {
        let Some(at) = self.lower.regions.locate(pointer.as_ptr()) else { return false };
        if at.class().is_small() {
            return self.lower.slabs.is_object(at, pointer);
        }
        pointer.addr().get().is_multiple_of(PAGE_SIZE) && at.run().is_some()
    }

    pub(super) fn fault(&self, kind: FaultKind, pointer: NonNull<u8>) -> ! {
        C::Env::fatal(self.lower.regions.fault_at(kind, pointer.as_ptr()))
    }
}
