//! Deallocation.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::Heap;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::units::PAGE_SIZE;
use crate::cache::FrontEnd;
use crate::region::{Contents, Located};

/// What every block is aligned to, in bytes.
pub(super) const SMALLEST_ALIGN: usize = 8;

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
        let class = Self::class(layout);
        // SAFETY: by the contract; or the class misses.
        if !unsafe { self.front.push(class, pointer.as_ptr()) } {
            self.free_slow(class, pointer);
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
        let class = self.regions.first_class_of(pointer.as_ptr());
        // SAFETY: by the contract; or the class misses.
        if !unsafe { self.front.push(class, pointer.as_ptr()) } {
            self.free_slow(class, pointer);
        }
    }

    /// The class of a block of the first region, for doors that free without
    /// a layout; [`Class::LARGE`] for those that have none and for all other
    /// pointers.
    #[inline(always)]
    pub fn class_of(&self, pointer: *const u8) -> Class {
        self.regions.first_class_of(pointer)
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
        // SAFETY: by the contract.
        unsafe { self.front.push(class, pointer) }
    }

    #[cold]
    #[inline(never)]
    fn free_slow(&self, class: Class, pointer: NonNull<u8>) {
        if !pointer.addr().get().is_multiple_of(SMALLEST_ALIGN) {
            self.fault(FaultKind::InvalidPointer, pointer);
        }
        self.free_deferred();
        if class.is_small() {
            self.cache.overflow(self.lower(), class, pointer);
        } else {
            // A large block; or a small one outside the first region.
            match self.regions.locate(pointer.as_ptr()) {
                Some(at) if at.class().is_small() => {
                    self.cache.overflow(self.lower(), at.class(), pointer);
                }
                Some(at) => self.free_run(class, pointer, at),
                None => self.fault(FaultKind::InvalidPointer, pointer),
            }
        }
        self.tick(C::Env::now_ms());
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
        let kept = own.is_run() && self.cache.keep_run(self.lower(), own, pointer);
        if !kept && self.regions.give(pointer, Contents::Dirty, C::Env::now_ms()).is_err() {
            self.fault(FaultKind::DoubleFree, pointer);
        }
    }

    pub(super) fn fault(&self, kind: FaultKind, pointer: NonNull<u8>) -> ! {
        C::Env::fatal(Fault::new(kind, pointer.as_ptr()))
    }
}
