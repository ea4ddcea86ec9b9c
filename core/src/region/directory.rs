//! From an address to its region and class, without a lock.
//!
//! The first region, on a 64-bit host the only one, is tested inline: one
//! range test and one load of a class byte. That beats class bytes at the
//! heads of aligned segments by 2 to 5 % and recognises foreign pointers.
//! Further regions (a limited address space, the banks of a kernel) are few,
//! because each is larger than the last, and are searched one by one.
//!
//! D1: the entry of a region does not change while a block in it is live.
//! So for a live pointer a torn read cannot hide its entry; a read torn by
//! the change of *another* entry is caught by the entry's version.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence};

use super::region::Region;
use crate::base::class::Class;
use crate::base::units::PAGE_SHIFT;

/// Regions of one heap at most.
pub(crate) const MAX_REGIONS: usize = 96;

/// Where pages are and what stands behind them.
struct Entry {
    /// Odd while the entry changes.
    version: AtomicUsize,
    base: AtomicUsize,
    /// Committed bytes of pages; 0 in an empty entry.
    bytes: AtomicUsize,
    region: AtomicPtr<Region>,
}

/// All regions of a heap, readable by anyone at any time.
#[repr(C, align(64))]
pub(crate) struct Directory {
    base: AtomicUsize,
    bytes: AtomicUsize,
    classes: AtomicPtr<AtomicU8>,
    used: AtomicUsize,
    entries: [Entry; MAX_REGIONS],
}

impl Directory {
    pub(crate) const fn new() -> Self {
        Self {
            base: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            classes: AtomicPtr::new(null_mut()),
            used: AtomicUsize::new(0),
            entries: [const {
                Entry {
                    version: AtomicUsize::new(0),
                    base: AtomicUsize::new(0),
                    bytes: AtomicUsize::new(0),
                    region: AtomicPtr::new(null_mut()),
                }
            }; MAX_REGIONS],
        }
    }

    /// The class of the page under `pointer`, when that is a page of the
    /// first region; [`Class::LARGE`] otherwise.
    #[inline(always)]
    pub(crate) fn first_class_of(&self, pointer: *const u8) -> Class {
        // Relaxed, here and below: whoever has a live pointer got it, by the
        // program's own synchronisation, after its region was entered.
        let offset = pointer.addr().wrapping_sub(self.base.load(Ordering::Relaxed));
        if offset < self.bytes.load(Ordering::Relaxed) {
            let classes = self.classes.load(Ordering::Relaxed);
            // SAFETY: G1, the class bytes of committed pages are committed.
            let byte = unsafe { &*classes.add(offset >> PAGE_SHIFT) };
            Class::from_index(byte.load(Ordering::Relaxed))
        } else {
            Class::LARGE
        }
    }

    /// The region and page under `pointer`.
    #[inline]
    pub(crate) fn find(&self, pointer: *const u8) -> Option<(NonNull<Region>, u32)> {
        let offset = pointer.addr().wrapping_sub(self.base.load(Ordering::Relaxed));
        if offset < self.bytes.load(Ordering::Relaxed) {
            let region = NonNull::new(self.entries[0].region.load(Ordering::Relaxed))?;
            return Some((region, (offset >> PAGE_SHIFT) as u32));
        }
        self.find_further(pointer)
    }

    #[cold]
    fn find_further(&self, pointer: *const u8) -> Option<(NonNull<Region>, u32)> {
        let used = self.used.load(Ordering::Acquire).min(MAX_REGIONS);
        self.entries[..used].iter().find_map(|entry| {
            // Acquire: pairs with the Release that ends `set`.
            let version = entry.version.load(Ordering::Acquire);
            let offset = pointer.addr().wrapping_sub(entry.base.load(Ordering::Relaxed));
            let inside = offset < entry.bytes.load(Ordering::Relaxed);
            let region = entry.region.load(Ordering::Relaxed);
            // Acquire fence: pairs with the Release fence that begins `set`.
            fence(Ordering::Acquire);
            let stable =
                version.is_multiple_of(2) && entry.version.load(Ordering::Relaxed) == version;
            let page = (offset >> PAGE_SHIFT) as u32;
            if inside && stable { NonNull::new(region).map(|region| (region, page)) } else { None }
        })
    }

    /// Enters a region, or its new size, at `index`; `None` empties it. The
    /// caller holds the lock of the region set.
    pub(crate) fn set(&self, index: usize, region: Option<(&Region, usize)>) {
        let entry = &self.entries[index];
        let (base, bytes, pointer, classes) = match region {
            Some((region, bytes)) => (
                region.base.addr().get(),
                bytes,
                core::ptr::from_ref(region).cast_mut(),
                region.tables.classes.as_ptr(),
            ),
            None => (0, 0, null_mut(), null_mut()),
        };
        let version = entry.version.load(Ordering::Relaxed);
        entry.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Release fence: pairs with the Acquire fence in `find_further`.
        fence(Ordering::Release);
        entry.base.store(base, Ordering::Relaxed);
        entry.region.store(pointer, Ordering::Relaxed);
        entry.bytes.store(bytes, Ordering::Relaxed);
        // Release: pairs with the Acquire in `find_further`.
        entry.version.store(version.wrapping_add(2), Ordering::Release);
        if index == 0 {
            self.base.store(base, Ordering::Relaxed);
            self.classes.store(classes, Ordering::Relaxed);
            // Release: a thread that sees the bytes sees the table. Pairs with
            // the program's own hand-over of a pointer, see above.
            self.bytes.store(bytes, Ordering::Release);
        }
        self.used.fetch_max(index + 1, Ordering::Release);
    }
}
