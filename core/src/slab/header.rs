//! One slab: header and bitmap, in the descriptors of its pages.
//!
//! ```text
//! descriptors ┌ next ┬ previous ┬ first ┬ summary ┬ purged ┬ free … node ┬ bitmap: 1 = free …
//! pages       ┌ colour ┬ object 0 ┬ object 1 ┬ … ┬ rest
//! ```
//!
//! Invariants, under the lock of the class:
//! - S1: a bit of the bitmap is 1 exactly when its object is free *in the
//!   slab*: neither live nor cached;
//! - S2: bit `w` of `summary` is 1 exactly when word `w` is not 0;
//! - S3: `free` is the number of bits set;
//! - S4: a slab is in the list `fill` of its class exactly when `free > 0`;
//! - S5: every object on a page whose bit of `purged` is 1 is free in the slab,
//!   and the class counts these pages;
//! - S6: the class bytes of a slab's pages say its class exactly while the class
//!   counts it.
//!
//! A [`Slab`] is a pointer to all of this and is passed by value: a reference
//! to the header would not reach the bitmap behind it.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::base::class::{Class, ClassInfo};
use crate::base::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use crate::base::sync::plain;
use crate::base::units::PAGE_SIZE;
use crate::base::violation::Violation;
use crate::provider::Node;
use crate::region::DESCRIPTOR_BYTES;

/// Objects that one word of the bitmap stands for.
pub(super) const WORD: u32 = usize::BITS;

/// Bytes of a cache line, the step of colours.
const CACHE_LINE: usize = 64;

/// A slab: where its header is, with the bitmap behind it.
///
/// Whoever has one may use it: the slab is alive, and the lock of its class is
/// held, or the slab is the holder's alone. Lists keep slabs beyond a lock, and
/// are reached under it only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Slab(NonNull<Header>);

/// Header of a slab. The bitmap follows.
#[derive(Debug)]
#[repr(C, align(8))]
struct Header {
    next: Cell<Option<Slab>>,
    previous: Cell<Option<Slab>>,
    /// Object 0.
    first: NonNull<u8>,
    summary: Cell<u64>,
    /// A bit a page: its memory was given back, see [`pages`](super::pages).
    purged: Cell<u64>,
    free: Cell<u16>,
    /// The look after which it last changed, or [`SETTLED`].
    touched: Cell<u16>,
    class: u8,
    /// The list it is in.
    fill: Cell<u8>,
    /// The node whose lists it is in, for ever.
    node: u8,
}

const BITMAP_AT: usize = size_of::<Header>();

/// Fails to compile if header and bitmap outgrow the descriptors.
const _: () = {
    let mut class = 1;
    while class < crate::base::class::CLASSES {
        let info = Class::from_index(class as u8).info_const();
        let words = info.objects.div_ceil(WORD) as usize;
        let bytes = BITMAP_AT + words * size_of::<usize>();
        assert!(bytes <= info.slab_pages as usize * DESCRIPTOR_BYTES, "bitmap in descriptors");
        assert!(words <= 64, "summary has a bit for each word");
        assert!(info.slab_pages <= 64, "purged has a bit for each page");
        class += 1;
    }
};

/// Said of a slab that has nothing to purge until it changes; no look's number.
pub(super) const SETTLED: u16 = 0;

/// An object given to [`Slab::release`] is free already, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadObject {
    /// It is free.
    Free,
    /// No object starts there.
    NotAnObject,
}

impl Slab {
    /// Lays a slab of `class` over the descriptors at `at`, every object
    /// free. `turn` chooses the colour: how many cache lines the objects are
    /// moved by, so that the first ones of different slabs do not all compete
    /// for the same cache sets (Bonwick, USENIX 1994). It is in lists of `node`.
    ///
    /// # Safety
    ///
    /// Caller: owns the run of pages at `start` and the descriptors at `at`
    /// (G2), `slab_pages` of the class long.
    pub(crate) unsafe fn format(
        at: NonNull<u8>,
        start: NonNull<u8>,
        class: Class,
        turn: u32,
        node: Node,
    ) -> Self {
        let info = class.info();
        let step = class.natural_align().max(CACHE_LINE);
        let colours = info.colour_room as usize / step + 1;
        let colour = turn as usize % colours * step;
        let words = info.objects.div_ceil(WORD);
        let header = at.cast::<Header>();
        // SAFETY: by the contract; the colour leaves room for every object.
        unsafe {
            header.write(Header {
                next: Cell::new(None),
                previous: Cell::new(None),
                first: start.add(colour),
                summary: Cell::new(u64::MAX >> (64 - words)),
                purged: Cell::new(0),
                free: Cell::new(info.objects as u16),
                touched: Cell::new(SETTLED),
                class: class.byte(),
                fill: Cell::new(0),
                // Below `Config::NODES`, see `Slabs`.
                node: node.0 as u8,
            });
            let bitmap = at.add(BITMAP_AT).cast::<Cell<usize>>();
            for word in 0..words {
                let left = info.objects - word * WORD;
                let bits = if left >= WORD { usize::MAX } else { (1 << left) - 1 };
                let place = bitmap.add(word as usize);
                place.write(Cell::new(bits));
                plain::wrote(place.as_ptr());
            }
        }
        Self(header)
    }

    /// The slab whose descriptors begin at `at`.
    ///
    /// # Safety
    ///
    /// Caller: a slab was formatted there, over all of its descriptors (G2),
    /// and it is used only as [`Slab`] says.
    pub(crate) unsafe fn at(at: NonNull<u8>) -> Self {
        Self(at.cast())
    }

    fn header(&self) -> &Header {
        // SAFETY: whoever has a slab may use it, and its header is changed
        // through cells alone.
        unsafe { self.0.as_ref() }
    }

    /// The slab behind this one in its list.
    pub(crate) fn next(self) -> Option<Self> {
        self.header().next.get()
    }

    /// Says which slab is behind this one.
    pub(crate) fn set_next(self, next: Option<Self>) {
        self.header().next.set(next);
    }

    /// The slab before this one in its list.
    pub(crate) fn previous(self) -> Option<Self> {
        self.header().previous.get()
    }

    /// Says which slab is before this one.
    pub(crate) fn set_previous(self, previous: Option<Self>) {
        self.header().previous.set(previous);
    }

    /// The list it is in, or was last.
    pub(crate) fn fill(self) -> u8 {
        self.header().fill.get()
    }

    /// Says which list it is in.
    pub(crate) fn set_fill(self, fill: u8) {
        self.header().fill.set(fill);
    }

    /// The pages given back, a bit each.
    pub(super) fn purged(self) -> u64 {
        self.header().purged.get()
    }

    /// Says which pages are given back (S5).
    pub(super) fn set_purged(self, pages: u64) {
        self.header().purged.set(pages);
    }

    /// The look after which it last changed, or [`SETTLED`].
    pub(super) fn touched(self) -> u16 {
        self.header().touched.get()
    }

    /// Says so.
    pub(super) fn set_touched(self, look: u16) {
        self.header().touched.set(look);
    }

    /// Bytes from the run's first to object 0's.
    pub(super) fn colour(self) -> usize {
        let bytes = self.info().slab_pages as usize * PAGE_SIZE;
        self.header().first.addr().get() & (bytes - 1)
    }

    /// First byte of the run of pages.
    pub(crate) fn run_start(self) -> NonNull<u8> {
        // SAFETY: the run is aligned to its size and the colour is less.
        unsafe { self.header().first.sub(self.colour()) }
    }

    /// Objects free.
    pub(crate) fn free(self) -> u32 {
        u32::from(self.header().free.get())
    }

    /// The node whose lists it is in: constant, so no lock is needed.
    pub(crate) fn node(self) -> Node {
        // SAFETY: whoever has a slab may use it; the field alone is read, which
        // nobody writes after `format`.
        Node(u16::from(unsafe { (&raw const (*self.0.as_ptr()).node).read() }))
    }

    /// What the class says of the slab.
    pub(crate) fn info(self) -> &'static ClassInfo {
        Class::from_index(self.header().class).info()
    }

    /// Whether no object is in use.
    pub(crate) fn is_empty(self) -> bool {
        self.free() == self.info().objects
    }

    fn word(&self, index: u32) -> &Cell<usize> {
        // SAFETY: the bitmap lies behind the header (`format`) and the index
        // is below the number of words.
        unsafe { self.0.add(1).cast::<Cell<usize>>().add(index as usize).as_ref() }
    }

    /// Verifies that summary and count agree with the bitmap (S2, S3), and that
    /// no bit stands for an object that there is not (S1).
    pub(crate) fn check(self) -> Result<(), Violation> {
        let here = self.run_start().addr().get();
        let ensure = |holds, invariant, found| Violation::unless(holds, invariant, found, here);
        let objects = self.info().objects;
        let words = objects.div_ceil(WORD);
        let bits = |word| self.word(word).get();
        let occupied = (0..words).filter(|&word| bits(word) != 0);
        let summary = occupied.fold(0, |sum, word| sum | 1 << word);
        ensure(self.header().summary.get() == summary, "S2", "a summary that is not its bitmap's")?;
        let free: u32 = (0..words).map(|word| bits(word).count_ones()).sum();
        ensure(free == self.free(), "S3", "a count that is not its bitmap's")?;
        let beyond = objects % WORD;
        let none = beyond == 0 || bits(words - 1) >> beyond == 0;
        ensure(none, "S1", "a free object that there is not")?;
        let mut purged = (0..self.info().slab_pages).filter(|page| self.purged() >> page & 1 != 0);
        let free = purged.all(|page| self.are_free(&(page..page + 1)));
        ensure(free, "S5", "a page given back that holds an object in use")
    }

    /// Fails unless all that [`check`](Self::check) verifies holds.
    #[cfg(test)]
    pub(crate) fn check_bitmap(self) {
        self.check().expect("a whole slab");
    }

    /// Claims up to `out.len()` objects, the lowest first, and stores them
    /// from the *end* of `out` downwards: a sheaf pops from its end. Returns
    /// how many. The objects themselves are not touched.
    pub(crate) fn claim(self, out: &[AtomicPtr<u8>]) -> usize {
        let header = self.header();
        // Read once: what is stored in `out` does not change them.
        let (first, size) = (header.first, self.info().size as usize);
        let mut summary = header.summary.get();
        let mut slots = out.iter().rev();
        let mut claimed = 0;
        while summary != 0 && claimed < out.len() {
            let index = summary.trailing_zeros();
            let mut bits = self.word(index).get();
            while bits != 0 {
                let Some(slot) = slots.next() else { break };
                let object = (index * WORD + bits.trailing_zeros()) as usize;
                // SAFETY: S1, the object is one of the slab's.
                slot.store(unsafe { first.add(object * size) }.as_ptr(), Relaxed);
                bits &= bits - 1;
                claimed += 1;
            }
            self.word(index).set(bits);
            if bits == 0 {
                summary &= summary - 1;
            }
        }
        header.summary.set(summary);
        header.free.set(header.free.get() - claimed as u16);
        claimed
    }

    /// The free objects of bitmap word `word`.
    pub(super) fn free_bits(self, word: u32) -> usize {
        self.word(word).get()
    }

    /// The words of the bitmap that are not 0, a bit each (S2).
    pub(super) fn summary(self) -> u64 {
        self.header().summary.get()
    }

    /// Claims the objects `bits` of bitmap word `word`, all of them free.
    pub(super) fn take(self, word: u32, bits: usize) {
        let left = self.word(word).get() & !bits;
        self.word(word).set(left);
        let header = self.header();
        if left == 0 {
            header.summary.set(header.summary.get() & !(1 << word));
        }
        header.free.set(header.free.get() - bits.count_ones() as u16);
    }

    /// Where an object starts.
    pub(super) fn object(self, index: u32) -> NonNull<u8> {
        // SAFETY: the caller's index is that of one of the slab's objects.
        unsafe { self.header().first.add((index * self.info().size) as usize) }
    }

    /// The index of the object that starts at `address`.
    #[inline]
    pub(crate) fn index_of(self, address: usize) -> Result<u32, BadObject> {
        let info = self.info();
        let offset = address.wrapping_sub(self.header().first.addr().get());
        let index = ((offset as u64).wrapping_mul(u64::from(info.reciprocal)) >> 32) as u32;
        if index < info.objects && index as usize * info.size as usize == offset {
            Ok(index)
        } else {
            Err(BadObject::NotAnObject)
        }
    }

    /// The word of the bitmap, and the bit in it, of an object.
    pub(crate) fn place(index: u32) -> (u32, usize) {
        (index / WORD, 1 << (index % WORD))
    }

    /// Whether an object is free in the slab.
    pub(crate) fn is_free(self, index: u32) -> bool {
        let (word, bit) = Self::place(index);
        self.free_bits(word) & bit != 0
    }

    /// Makes the objects `bits` of bitmap word `word` free.
    ///
    /// # Errors
    ///
    /// [`BadObject::Free`] when one is free already: the heap is then broken.
    pub(crate) fn release(self, word: u32, bits: usize) -> Result<(), BadObject> {
        let free = self.word(word).get();
        if free & bits != 0 {
            return Err(BadObject::Free);
        }
        self.word(word).set(free | bits);
        let header = self.header();
        header.summary.set(header.summary.get() | 1 << word);
        header.free.set(header.free.get() + bits.count_ones() as u16);
        Ok(())
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
pub(super) mod tests;
