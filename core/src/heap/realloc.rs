//! Reallocation: in place where possible, by moving pages where that is
//! cheaper than copying, by a copy outside any lock otherwise.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::Heap;
use super::alloc::pages_for;
use super::free::is_of_a_class;
use super::sampled::Freed;
use crate::base::class::{Class, TABLED};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::origin::Caller;
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, PageCount};
use crate::cache::Lower;
use crate::provider::{Capabilities, PageProvider};
use crate::region::{Contents, Near};

/// Blocks of at least this many pages are moved by the provider rather than
/// copied: below, system call and page faults cost more than the copy. Eight times as
/// many were 12 % faster for buffers filled to the last byte, 35 % slower for others,
/// and took up to twice the memory; half as many took twice the time.
const REMAP_PAGES: u32 = 32;

/// A run that has to move because its block grows gets a place with so many
/// times its length free behind it, so that it grows there next time ...
const ROOM_FACTOR: u32 = 7;

/// ... but no more pages than this. Four times as many took a tenth less time in
/// buffers that grow to 4 MiB, and a tenth more memory: for descriptors, of an address
/// space that few blocks are in.
const ROOM_PAGES: u32 = 1024;

/// A run that would lose less than a quarter, and no more than this, is left
/// as it is: it is likely to grow again.
const SHRINK_SLACK_PAGES: u32 = 256;

/// Pages at least that go back at once when a run is shortened by them: who asks to
/// shrink does not want them. With fewer the system call takes longer than a program
/// takes to fill them.
const TAIL_PAGES: u32 = 64;

impl<C: Config> Heap<C> {
    /// Makes a block `new_size` bytes large, keeping its contents up to the
    /// smaller of both sizes and its alignment. Null when memory is short;
    /// the block is then as it was.
    ///
    /// # Safety
    ///
    /// Caller: as for [`dealloc`](Self::dealloc); on success the old pointer
    /// is gone.
    pub unsafe fn realloc(&self, pointer: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        if Self::checks_calls() {
            return self.realloc_checked(pointer, Some(layout), new_size, Caller::UNKNOWN);
        }
        // SAFETY: by the contract.
        unsafe { self.realloc_raw(pointer, layout, new_size) }
    }

    /// The same without asking for the tier.
    ///
    /// # Safety
    ///
    /// Caller: as for [`realloc`](Self::realloc).
    pub(super) unsafe fn realloc_raw(
        &self,
        pointer: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        if C::SAMPLES && layout.size() >= TABLED && !is_of_a_class(pointer) {
            return self.realloc_sampled(pointer, new, Freed::ByLayout);
        }
        let (old_class, new_class) = (Self::class(layout), Self::class(new));
        let freed = Freed::ByLayout;
        if new_class == old_class && new_class != Class::LARGE {
            return pointer.as_ptr();
        }
        if old_class.is_small() {
            // SAFETY: by the contract.
            return unsafe {
                self.move_block(pointer, layout.size(), new, freed, |heap| heap.free_raw(pointer))
            };
        }
        // SAFETY: by the contract; a run.
        unsafe { self.realloc_run(pointer, Some(layout.size()), new, new_class, freed) }
    }

    /// The same without the old layout; the block is then aligned as C's
    /// `realloc` promises: to 16 bytes. For `caller`, in reports. The new block, too, may
    /// be a sampled one, see [`alloc_class`](Self::alloc_class).
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free); on success the old pointer is
    /// gone.
    pub unsafe fn realloc_unsized(
        &self,
        pointer: NonNull<u8>,
        new_size: usize,
        caller: Caller,
    ) -> *mut u8 {
        if Self::checks_calls() {
            return self.realloc_checked(pointer, None, new_size, caller);
        }
        let new_class = Self::exact(Class::for_malloc(new_size), new_size);
        let align = if new_size > 8 { 16 } else { 8 };
        let Ok(new) = Layout::from_size_align(new_size, align) else { return null_mut() };
        let freed = Freed::ByPointer(caller);
        let Some(located) = self.lower.regions.locate(pointer.as_ptr()) else {
            return self.realloc_sampled(pointer, new, freed);
        };
        match located.class() {
            // SAFETY: by the contract; a run.
            class if !class.is_small() => unsafe {
                self.realloc_run(pointer, None, new, new_class, freed)
            },
            class => {
                let size = class.size();
                if holds_well(size, new_size) {
                    return pointer.as_ptr();
                }
                // SAFETY: by the contract.
                unsafe { self.move_block(pointer, size, new, freed, |heap| heap.free_raw(pointer)) }
            }
        }
    }

    /// Reallocates a run of pages to `new`.
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free); `size` is no more than the block's.
    /// On success the old pointer is gone.
    unsafe fn realloc_run(
        &self,
        pointer: NonNull<u8>,
        size: Option<usize>,
        new: Layout,
        new_class: Class,
        freed: Freed,
    ) -> *mut u8 {
        let aligned = pointer.addr().get().is_multiple_of(PAGE_SIZE);
        let at = self.lower.regions.locate(pointer.as_ptr()).filter(|_| aligned);
        let Some((at, old_pages)) = at.and_then(|at| Some((at, at.run()?))) else {
            self.fault(FaultKind::InvalidPointer, pointer)
        };
        let kept = size.unwrap_or(old_pages.bytes());
        let free = |heap: &Self| heap.free_raw(pointer);
        if new_class.is_small() {
            // Left as it is, with its class (K1). With a layout it has to move: that
            // says of which class it is when it is freed.
            if size.is_none() && holds_well(kept, new.size()) {
                return pointer.as_ptr();
            }
            // SAFETY: by the caller's contract.
            return unsafe { self.move_block(pointer, kept, new, freed, free) };
        }
        let Some(pages) = pages_for(new_class, new.size()) else { return null_mut() };
        let (old, wanted) = (old_pages.get(), pages.get());
        let slack = old.saturating_sub(wanted);
        // A class says how long its runs are, so that they can serve each other.
        let may_stay = new_class == Class::LARGE && slack <= old / 4 && slack < SHRINK_SLACK_PAGES;
        let stays = wanted == old || (wanted < old && may_stay);
        // K1 at any instant: the class of a shorter run comes before the cut, which
        // nobody refuses, that of a longer one after it has grown.
        if wanted <= old {
            at.set_class(pages, new_class);
        }
        let Lower { regions, provider, .. } = &self.lower;
        let behind = if !stays && slack >= TAIL_PAGES {
            // SAFETY: by the contract, the caller gives up what does not fit.
            unsafe { regions.purge_tail(provider, at, wanted..old) }
        } else {
            Contents::Dirty
        };
        if stays {
            return pointer.as_ptr();
        }
        if regions.resize(provider, pointer, pages, behind) {
            at.set_class(pages, new_class);
            // A program may free nothing else for long.
            self.tick(C::Env::now_ms());
            return pointer.as_ptr();
        }
        // SAFETY: by the caller's contract.
        if let Some(moved) = unsafe { self.move_run(pointer, old_pages, kept, new, new_class) } {
            return moved.as_ptr();
        }
        // SAFETY: by the caller's contract.
        unsafe { self.move_block(pointer, kept, new, freed, free) }
    }

    /// Moves a run to a longer one, with room to grow again behind it where
    /// pages that nobody touches cost nothing.
    ///
    /// # Safety
    ///
    /// Caller: as for [`free`](Self::free); `kept` bytes are readable. On
    /// success the old pointer is gone.
    unsafe fn move_run(
        &self,
        pointer: NonNull<u8>,
        old: PageCount,
        kept: usize,
        new: Layout,
        class: Class,
    ) -> Option<NonNull<u8>> {
        let pages = pages_for(class, new.size())?;
        let align = new.align().max(self.lower.provider.page_size()) >> PAGE_SHIFT;
        let align = u32::try_from(align).ok()?;
        let most = if C::LAZY_PAGES { ROOM_PAGES } else { 0 };
        let room = pages.get().saturating_mul(ROOM_FACTOR).min(most);
        let near = Near::First(self.lower.source());
        let run = self
            .lower
            .regions
            .take_roomy(&self.lower.provider, near, pages, align, class, room)
            .ok()?;
        let left = if self.remap(pointer, old, run.start) {
            // The old pages have nothing behind them any more.
            Contents::Zero
        } else {
            // SAFETY: both are ours, of at least so many bytes; different
            // runs do not overlap.
            unsafe { pointer.copy_to_nonoverlapping(run.start, kept.min(new.size())) };
            Contents::Dirty
        };
        // Not cached: who grows next takes a place with room, where this one may be.
        let now = C::Env::now_ms();
        if self.lower.regions.give(pointer, left, now).is_err() {
            self.fault(FaultKind::Corrupted, pointer);
        }
        self.tick(now);
        Some(run.start)
    }

    /// Moves a run's pages to a longer run without copying, if that is
    /// cheaper; the old run then has nothing behind it. `false` when nothing
    /// has happened.
    fn remap(&self, from: NonNull<u8>, pages: PageCount, to: NonNull<u8>) -> bool {
        let machine_page = self.lower.provider.page_size();
        let worthwhile = pages.get() >= REMAP_PAGES
            && from.addr().get().is_multiple_of(machine_page)
            && pages.bytes().is_multiple_of(machine_page)
            && self.can_remap(from)
            && self.can_remap(to);
        // SAFETY: both runs are ours, committed and of at least so many bytes;
        // different runs do not overlap.
        worthwhile && unsafe { self.lower.provider.remap(from, to, pages.bytes()) }.is_ok()
    }

    /// Whether the provider can move the pages of the block.
    fn can_remap(&self, pointer: NonNull<u8>) -> bool {
        self.lower
            .regions
            .locate(pointer.as_ptr())
            .is_some_and(|at| at.capabilities().contains(Capabilities::REMAP))
    }

    /// Allocates `new`, copies what fits of `old_size` bytes, and lets `free`
    /// dispose of the old block. Null, and the old block as it was, when
    /// memory is short.
    unsafe fn move_block(
        &self,
        pointer: NonNull<u8>,
        old_size: usize,
        new: Layout,
        freed: Freed,
        free: impl FnOnce(&Self),
    ) -> *mut u8 {
        let block = self.alloc_target(new, freed);
        if !block.is_null() {
            // SAFETY: both blocks are live, different, and large enough.
            unsafe { pointer.as_ptr().copy_to_nonoverlapping(block, old_size.min(new.size())) };
            free(self);
        }
        block
    }
}

/// Whether a block of `usable` bytes that nobody knows the layout of stays where it is
/// for `size` bytes: shrinking to no less than half is not worth a copy.
#[inline]
fn holds_well(usable: usize, size: usize) -> bool {
    size <= usable && (size >= usable / 2 || usable <= 32)
}

#[cfg(test)]
#[path = "realloc_tests.rs"]
mod tests;
