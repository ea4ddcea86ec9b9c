//! From an address to its region and class, without a lock; and the list of
//! all regions.
//!
//! The first region, on a 64-bit host the only one, is tested inline: one
//! range test and one load of a class byte. That beats class bytes at the
//! heads of aligned segments by 2 to 5 % and recognises foreign pointers.
//! Further regions (a limited address space, the banks of a kernel) are
//! searched one by one; where the provider lets regions grow they are few.
//!
//! Entries stand in blocks: one inline, further ones in pages of the heap's
//! own that are never given back, so that a reader may look at any time.
//!
//! D1: the entry of a region does not change while a block in it is live,
//! but for its size. So for a live pointer a torn read cannot hide its entry;
//! a read torn by the change of *another* entry is caught by the entry's
//! version.

use core::ptr::{NonNull, null_mut};

use super::region::Region;
use crate::base::class::Class;
use crate::base::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence, spin_loop,
};
use crate::base::sync::plain;
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE};

/// Entries in a block: with the block's header, what fits a page. In Miri few,
/// because there a reference to a heap, passed on, costs a step for each of the
/// atomics in it; so that it also sees many blocks.
const ENTRIES: usize = if cfg!(miri) { 7 } else { PAGE_SIZE / size_of::<Entry>() - 1 };

/// What every block is aligned to, in bytes.
const UNIT: usize = 1 << UNIT_SHIFT;
const UNIT_SHIFT: u32 = 3;

/// Where a region's pages are, and the region.
pub(crate) struct Entry {
    /// Odd while the entry changes.
    version: AtomicUsize,
    base: AtomicUsize,
    /// Committed bytes of pages; 0 in an empty entry.
    bytes: AtomicUsize,
    region: AtomicPtr<Region>,
}

/// A page of entries.
#[repr(C)]
struct Block {
    next: AtomicPtr<Block>,
    /// Entries ever used: the rest need not be looked at.
    used: AtomicUsize,
    entries: [Entry; ENTRIES],
}

const _: () = assert!(size_of::<Block>() <= PAGE_SIZE, "a block fits a page");

/// All regions of a heap, readable by anyone at any time.
#[repr(C, align(64))]
pub(crate) struct Directory {
    /// What is to be added to a pointer into the first region for its offset.
    minus_base: AtomicUsize,
    /// Committed units of the first region, as frees that may hit see them: 0
    /// from [`close`](Self::close) on.
    hit_units: AtomicUsize,
    classes: AtomicPtr<AtomicU8>,
    /// Committed units of the first region.
    units: AtomicUsize,
    is_closed: AtomicBool,
    blocks: Block,
}

impl Block {
    const fn new() -> Self {
        Self {
            next: AtomicPtr::new(null_mut()),
            used: AtomicUsize::new(0),
            entries: [const {
                Entry {
                    version: AtomicUsize::new(0),
                    base: AtomicUsize::new(0),
                    bytes: AtomicUsize::new(0),
                    region: AtomicPtr::new(null_mut()),
                }
            }; ENTRIES],
        }
    }

    fn next(&self) -> Option<&Self> {
        // Acquire: pairs with the Release in `extend`.
        // SAFETY: blocks are never given back.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// The entries ever used.
    fn entries(&self) -> &[Entry] {
        // Acquire: pairs with the Release in `claim`. Never above `ENTRIES`.
        &self.entries[..self.used.load(Ordering::Acquire)]
    }

    /// An entry for a new region, if there is one.
    fn claim(&self) -> Option<&Entry> {
        let empty = |entry: &&Entry| entry.region.load(Ordering::Relaxed).is_null();
        self.entries().iter().find(empty).or_else(|| {
            let used = self.used.load(Ordering::Relaxed);
            let entry = self.entries.get(used)?;
            // Release: pairs with the Acquire in `entries`.
            self.used.store(used + 1, Ordering::Release);
            Some(entry)
        })
    }
}

impl Entry {
    /// The region entered here.
    pub(crate) fn region(&self) -> Option<NonNull<Region>> {
        // Acquire: pairs with the Release in `set`.
        NonNull::new(self.region.load(Ordering::Acquire))
    }

    /// The region and page under a pointer, if they are this entry's. Reads
    /// again while the entry changes: the region may only be growing, and the
    /// pointer be live in it.
    fn find(&self, pointer: *const u8) -> Option<(NonNull<Region>, u32)> {
        let (region, offset, _) = self.look(pointer)?;
        Some((region, (offset >> PAGE_SHIFT) as u32))
    }

    /// The same, with the pointer's offset and the region's committed bytes.
    fn look(&self, pointer: *const u8) -> Option<(NonNull<Region>, usize, usize)> {
        loop {
            // Acquire: pairs with the Release that ends `set`.
            let version = self.version.load(Ordering::Acquire);
            let offset = pointer.addr().wrapping_sub(self.base.load(Ordering::Relaxed));
            let bytes = self.bytes.load(Ordering::Relaxed);
            let region = self.region.load(Ordering::Relaxed);
            // Acquire fence: pairs with the Release fence that begins `set`.
            fence(Ordering::Acquire);
            let unchanged = self.version.load(Ordering::Relaxed) == version;
            if version.is_multiple_of(2) && unchanged {
                let found = NonNull::new(region).filter(|_| offset < bytes);
                return found.map(|region| (region, offset, bytes));
            }
            spin_loop();
        }
    }

    fn set(&self, base: usize, bytes: usize, region: *mut Region) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Release fence: pairs with the Acquire fence in `find`.
        fence(Ordering::Release);
        self.base.store(base, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        // Release: pairs with the Acquire in `region`.
        self.region.store(region, Ordering::Release);
        // Release: pairs with the Acquire in `find`.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

impl Directory {
    pub(crate) const fn new() -> Self {
        Self {
            minus_base: AtomicUsize::new(0),
            hit_units: AtomicUsize::new(0),
            classes: AtomicPtr::new(null_mut()),
            units: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            blocks: Block::new(),
        }
    }

    /// The class of the page under `pointer`, when that is a page of the
    /// first region and the pointer a multiple of 8, as every block's.
    ///
    /// # Safety
    ///
    /// Caller: `pointer` is a live block's of this heap or points into none of
    /// its regions, as null does.
    #[inline(always)]
    pub(crate) unsafe fn first_class_of(&self, pointer: *const u8) -> Option<Class> {
        // SAFETY: by the contract.
        unsafe { self.class_within(&self.units, pointer) }
    }

    /// The same for frees that may hit: `None` where every call is checked.
    ///
    /// # Safety
    ///
    /// Caller: as for [`first_class_of`](Self::first_class_of).
    #[inline(always)]
    pub(crate) unsafe fn hit_class_of(&self, pointer: *const u8) -> Option<Class> {
        // SAFETY: by the contract.
        unsafe { self.class_within(&self.hit_units, pointer) }
    }

    /// # Safety
    ///
    /// Caller: as for [`first_class_of`](Self::first_class_of); `units` are the
    /// region's, or none.
    #[inline(always)]
    unsafe fn class_within(&self, units: &AtomicUsize, pointer: *const u8) -> Option<Class> {
        // An odd offset becomes a huge one: one test for both.
        let unit = self.first_offset_of(pointer).rotate_right(UNIT_SHIFT);
        if unit >= units.load(Ordering::Relaxed) {
            return None;
        }
        let classes = self.classes.load(Ordering::Relaxed).cast::<u8>();
        // SAFETY: what is below a number of units has 0 in the bits that came
        // to the top, and regions start at pages. G1, the class bytes of committed
        // pages are committed, and 0 or written by `Located`, from classes.
        // Read without an atomic, which costs an instruction: the byte under a
        // live block is written by nobody but who resizes the block.
        unsafe {
            core::hint::assert_unchecked(pointer.addr().is_multiple_of(UNIT));
            Some(Class::from_byte(*classes.add(unit >> (PAGE_SHIFT - UNIT_SHIFT))))
        }
    }

    /// The offset in the first region, for a pointer into it.
    #[inline(always)]
    fn first_offset_of(&self, pointer: *const u8) -> usize {
        // Relaxed, as all that is read of the first region: whoever has a live
        // pointer got it, by the program's own synchronisation, after its
        // region was entered. A sum, because it spares a move of registers.
        pointer.addr().wrapping_add(self.minus_base.load(Ordering::Relaxed))
    }

    /// Whether `pointer` is into the first region.
    #[inline]
    pub(crate) fn is_in_first(&self, pointer: *const u8) -> bool {
        self.first_offset_of(pointer) / UNIT < self.units.load(Ordering::Relaxed)
    }

    /// The region and page under `pointer`.
    #[inline]
    pub(crate) fn find(&self, pointer: *const u8) -> Option<(NonNull<Region>, u32)> {
        let offset = self.first_offset_of(pointer);
        if offset / UNIT < self.units.load(Ordering::Relaxed) {
            let region = NonNull::new(self.blocks.entries[0].region.load(Ordering::Relaxed))?;
            return Some((region, (offset >> PAGE_SHIFT) as u32));
        }
        self.find_further(pointer)
    }

    #[cold]
    fn find_further(&self, pointer: *const u8) -> Option<(NonNull<Region>, u32)> {
        self.entries().find_map(|entry| entry.find(pointer))
    }

    /// Committed bytes of the region under `pointer`; of none of its memory a look.
    pub(crate) fn bytes_around(&self, pointer: *const u8) -> Option<usize> {
        if self.is_in_first(pointer) {
            return Some(self.units.load(Ordering::Relaxed) * UNIT);
        }
        self.entries().find_map(|entry| entry.look(pointer).map(|(_, _, bytes)| bytes))
    }

    /// All entries ever used, empty ones too; the first region's first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.blocks().flat_map(Block::entries)
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        core::iter::successors(Some(&self.blocks), |block| block.next())
    }

    /// Bytes of pages that were given to [`extend`](Self::extend).
    pub(crate) fn own_bytes(&self) -> usize {
        (self.blocks().count() - 1) * PAGE_SIZE
    }

    /// Whether this is the entry of the first region.
    pub(crate) fn is_first(&self, entry: &Entry) -> bool {
        core::ptr::eq(entry, &raw const self.blocks.entries[0])
    }

    /// An empty entry; `None` when the directory has to be extended. The
    /// caller holds the lock of growth, and so keeps others from it.
    pub(crate) fn claim(&self) -> Option<&Entry> {
        self.blocks().find_map(Block::claim)
    }

    /// Adds a page for further entries.
    ///
    /// # Safety
    ///
    /// Caller: gives the page away for ever, and holds the lock of growth.
    pub(crate) unsafe fn extend(&self, page: NonNull<u8>) {
        let block = page.cast::<Block>();
        // SAFETY: the page is ours and large enough.
        unsafe { block.write(Block::new()) };
        plain::wrote(block.as_ptr());
        if let Some(last) = self.blocks().last() {
            // Release: publishes the block; pairs with the Acquire in `next`.
            last.next.store(block.as_ptr(), Ordering::Release);
        }
    }

    /// Enters a region with its committed bytes; `None` empties the entry.
    /// The caller holds the lock of the region set.
    pub(crate) fn set(&self, entry: &Entry, region: Option<(&Region, usize)>) {
        let Some((region, bytes)) = region else { return entry.set(0, 0, null_mut()) };
        let base = region.base.addr().get();
        entry.set(base, bytes, core::ptr::from_ref(region).cast_mut());
        if self.is_first(entry) {
            self.minus_base.store(base.wrapping_neg(), Ordering::Relaxed);
            self.classes.store(region.tables.classes.as_ptr(), Ordering::Relaxed);
            // Release: a thread that sees the units sees the table. Pairs with
            // the program's own hand-over of a pointer, see above.
            self.units.store(bytes / UNIT, Ordering::Release);
            if !self.is_closed.load(Ordering::Relaxed) {
                // Release: as above.
                self.hit_units.store(bytes / UNIT, Ordering::Release);
            }
        }
    }

    /// Spares frees the look at a cache in which they would miss: every call is
    /// checked. Where it is not seen at once, they miss there.
    pub(crate) fn close(&self) {
        // Relaxed: a hint.
        self.is_closed.store(true, Ordering::Relaxed);
        self.hit_units.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
#[path = "directory_models.rs"]
mod models;
