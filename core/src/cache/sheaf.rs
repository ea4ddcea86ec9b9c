//! A sheaf: object pointers between two marks.
//!
//! ```text
//! word    0        1       2             capacity   capacity+1
//!      ┌───────┬────────┬────────┬─────┬──────────┬───────────┐
//!      │ begin │ object │ object │  …  │          │    end    │
//!      └───────┴────────┴────────┴─────┴──────────┴───────────┘
//!        odd              ▲ top = the first word not in use      odd
//! ```
//!
//! Objects are at even addresses and the marks are odd. So one pointer, the
//! *top*, is the whole state: the sheaf is empty when the word below the top
//! is odd, full when the word at the top is odd. Pop, push and replacing one
//! sheaf by another are each a single store of that pointer, which is what
//! restartable sequences need. A block may be of any size: small programs get
//! by with sheaves of 64 bytes. (Recognising "full" by the alignment of the
//! top instead would save a load from a line that is written anyway, and
//! fixes one large block size; it cost 392 KiB in a small interpreter.)
//!
//! Marks hold, above their odd bit, the block's order. In a list the one at the top is
//! the link to the next sheaf instead (`list`), odd as well.
//!
//! Invariants:
//! - C1: a sheaf has one owner: a top, a list, or a local variable;
//! - C2: the memory of a sheaf is never used for anything else, so that a
//!   stale top may be read (and is then refused) at any time.

use core::ptr::{NonNull, null_mut, without_provenance_mut};

use crate::base::class::Class;
use crate::base::sync::atomic::{AtomicPtr, Ordering::Relaxed, Ordering::SeqCst, fence};

/// One word of a sheaf: an object or a mark.
pub type Word = AtomicPtr<u8>;

/// Block sizes: `8 << order` words.
pub(crate) const ORDERS: usize = 5;

/// Alignment of blocks, and size of the smallest in bytes on 64-bit machines.
pub(crate) const SHEAF_ALIGN: usize = 64;

const ODD: usize = 1;
const ORDER_SHIFT: u32 = 1;
const ORDER_MASK: usize = 0b111;

/// The bits of a mark's address that say a block's order.
pub(super) const fn tag(order: u8) -> usize {
    (order as usize) << ORDER_SHIFT | ODD
}

/// Words in a block of `order`.
pub(crate) const fn words(order: u8) -> usize {
    8 << order
}

/// Objects that a sheaf of `order` holds for a class: all that fit, but in
/// the smallest order no more than the class allows.
#[inline]
pub(crate) fn capacity(class: Class, order: u8) -> usize {
    let all = words(order) - 2;
    // Of a larger order, up to the class's largest, all that fit are allowed.
    if order == 0 { all.min(class.info().first_sheaf_max.into()) } else { all }
}

/// Bytes of objects in a sheaf of `order` beyond those that each class may have.
#[inline]
pub(crate) fn bytes_beyond(class: Class, order: u8) -> usize {
    (capacity(class, order) * class.size()).saturating_sub(64 << 10)
}

/// Bytes that CPUs take from each other's caches at a time.
const CACHE_LINE: usize = 64;

/// Objects of a class that are, in a row, as long as a cache line; 0 where one is.
pub(crate) const fn apart(class: Class) -> usize {
    if class.size() < CACHE_LINE { CACHE_LINE.div_ceil(class.size()) } else { 0 }
}

/// Objects of a class that fill a cache line; 1 where they do not divide it.
const fn line(class: Class) -> usize {
    let size = class.size();
    if size < CACHE_LINE && CACHE_LINE.is_multiple_of(size) { CACHE_LINE / size } else { 1 }
}

/// How many objects of a class to take from slabs, where `room` fit: whole
/// cache lines, so that no two CPUs begin with objects of the same one (active
/// false sharing: Berger et al., Hoard, ASPLOS 2000).
pub(crate) const fn batch(class: Class, room: usize) -> usize {
    if room < line(class) { room } else { room - room % line(class) }
}

/// The smallest order that holds a cache line of objects.
pub(crate) const fn min_order(class: Class) -> u8 {
    let mut order = 0;
    while words(order) - 2 < line(class) {
        order += 1;
    }
    order
}

/// The largest order whose capacity the class allows.
pub(crate) const fn max_order(class: Class) -> u8 {
    let mut order = 0;
    while order as usize + 1 < ORDERS && words(order + 1) - 2 <= class.info().sheaf_max as usize {
        order += 1;
    }
    order
}

/// The state of a class's sheaf: points to the first word not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Top(pub(crate) NonNull<Word>);

#[repr(C, align(16))]
struct Sentinel([Word; 2]);

/// Empty and full at once: pops and pushes both miss. Never written.
static SENTINEL: Sentinel =
    Sentinel([Word::new(without_provenance_mut(ODD)), Word::new(without_provenance_mut(ODD))]);

impl Top {
    /// The top of no sheaf: pops and pushes both miss.
    #[must_use]
    #[inline]
    pub const fn sentinel() -> Self {
        // SAFETY: the second word of two.
        Self(unsafe {
            NonNull::new_unchecked((&raw const SENTINEL.0).cast::<Word>().cast_mut().add(1))
        })
    }

    /// The word it points to, for fast paths in assembly.
    #[must_use]
    #[inline]
    pub const fn as_ptr(self) -> *mut Word {
        self.0.as_ptr()
    }

    /// A top from the word it points to, for tests of fast paths.
    ///
    /// # Safety
    ///
    /// Caller: the word is the end mark of a sheaf, or a place for an object
    /// between its marks, and the sheaf lives for ever or is never reached by
    /// others.
    #[must_use]
    #[inline]
    pub unsafe fn from_ptr(word: NonNull<Word>) -> Self {
        Self(word)
    }

    /// Whether this is the sentinel.
    #[must_use]
    #[inline]
    pub fn is_sentinel(self) -> bool {
        self == Self::sentinel()
    }

    /// The word below: an object, or the begin mark.
    #[inline(always)]
    pub(crate) fn below(self) -> (NonNull<Word>, *mut u8) {
        // SAFETY: a top points between its sheaf's marks or at the end mark
        // (C1, C2), so there is a word below.
        unsafe {
            let word = self.0.sub(1);
            (word, word.as_ref().load(Relaxed))
        }
    }

    /// The word at the top: free, or the end mark.
    #[inline(always)]
    pub(crate) fn at(self) -> (NonNull<Word>, *mut u8) {
        // SAFETY: as in `below`, the top is a word of its sheaf.
        (self.0, unsafe { self.0.as_ref() }.load(Relaxed))
    }

    /// Whether there is nothing to pop.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        is_mark(self.below().1)
    }

    /// Whether there is no room to push.
    #[inline]
    pub(crate) fn is_full(self) -> bool {
        is_mark(self.at().1)
    }

    /// Objects below the top.
    pub(crate) fn len(self) -> usize {
        let mut len = 0;
        self.each(|_| len += 1);
        len
    }

    /// Shows each object below the top, the next to be popped first. The top is the
    /// caller's or one that was [observed](super::tops::Tops::observe): there is a mark
    /// below.
    pub(crate) fn each(self, mut show: impl FnMut(NonNull<u8>)) {
        let mut at = self;
        while let (below, word) = at.below()
            && !is_mark(word)
        {
            if let Some(object) = NonNull::new(word) {
                show(object);
            }
            at = Self(below);
        }
    }

    /// Free words from the top on, in a sheaf of the smallest order. If
    /// somebody formats its block meanwhile, any number that fits.
    pub(crate) fn room(self) -> usize {
        let mut at = self;
        let mut room = 0;
        while let (word, there) = at.at()
            && !is_mark(there)
        {
            room += 1;
            // SAFETY: a word that is no mark is not the last of its sheaf.
            at = Self(unsafe { word.add(1) });
            if at.0.addr().get().is_multiple_of(SHEAF_ALIGN) {
                break;
            }
        }
        room
    }
}

/// Whether a word is a mark, not an object.
#[inline(always)]
pub(crate) fn is_mark(word: *mut u8) -> bool {
    word.addr() & ODD != 0
}

/// Which end of its sheaf a top is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Empty,
    Full,
}

/// A sheaf that is ours (C1), with what is in it.
#[derive(Debug)]
#[must_use = "dropping a sheaf leaks it and its objects"]
pub(crate) struct Sheaf {
    pub(super) block: NonNull<Word>,
    pub(super) len: usize,
}

impl Sheaf {
    /// Lays an empty sheaf for `class` over a block.
    ///
    /// # Safety
    ///
    /// Caller: the block is ours, of `words(order)` words, aligned to
    /// [`SHEAF_ALIGN`], and no object is in it.
    #[inline]
    pub(crate) unsafe fn format(block: NonNull<Word>, class: Class, order: u8) -> Self {
        // SAFETY: by the contract.
        unsafe { Self::format_for(block, capacity(class, order), order) }
    }

    /// Lays an empty sheaf for `class` over a block that has never been one. From now
    /// on its first word is odd, whatever becomes of it (C2).
    ///
    /// # Safety
    ///
    /// Caller: as for [`format`](Self::format).
    pub(crate) unsafe fn format_first(block: NonNull<Word>, class: Class, order: u8) -> Self {
        // SAFETY: by the contract.
        let sheaf = unsafe { Self::format(block, class, order) };
        // SeqCst: pairs with the fence in `Tops::observe`: who has seen a top in this
        // block sees its begin. Not Release, because another thread may have stored that
        // top, after it was moved to the CPU.
        fence(SeqCst);
        sheaf
    }

    /// Lays an empty sheaf for `capacity` objects over a block.
    ///
    /// # Safety
    ///
    /// Caller: as for [`format`](Self::format); the capacity is that of the
    /// order or, in the smallest, between 1 and that.
    pub(crate) unsafe fn format_for(block: NonNull<Word>, capacity: usize, order: u8) -> Self {
        let sheaf = Self { block, len: 0 };
        if order == 0 {
            // The end mark may have been elsewhere: a stale one would read as
            // "full".
            (1..words(0)).for_each(|at| sheaf.word(at).store(null_mut(), Relaxed));
        }
        let mark = without_provenance_mut(tag(order));
        sheaf.word(0).store(mark, Relaxed);
        sheaf.word(capacity + 1).store(mark, Relaxed);
        sheaf
    }

    /// Makes an empty sheaf, whosever it was, one for `class`. All that fit are a
    /// larger one's capacity, and its marks are in their places: they need not be
    /// touched.
    #[inline]
    pub(crate) fn retarget(self, class: Class, order: u8) -> Self {
        debug_assert!(self.order() == order, "a sheaf of another order");
        // SAFETY: the block is ours (C1), and `into_block` requires that it is empty.
        if order == 0 { unsafe { Self::format(self.into_block(), class, 0) } } else { self }
    }

    /// The sheaf of a top that is ours now.
    ///
    /// # Safety
    ///
    /// Caller: took the top out of its place (C1); it is not the sentinel.
    pub(crate) unsafe fn from_top(top: Top) -> Self {
        let len = top.len();
        // SAFETY: the begin mark lies below the objects.
        Self { block: unsafe { top.0.sub(len + 1) }, len }
    }

    /// The same for a top that was seen to have nothing below, or no room above,
    /// before it was taken out: without counting. `Err` when that is not so.
    ///
    /// Top and mark were not read at once. Between, the block may have been another
    /// class's, with its end elsewhere, and then this class's again with the same top:
    /// the mark that was seen is gone. So it is looked at once more, now that nobody
    /// else writes to the block (C1). In a sheaf of one class a mark below the top is
    /// the begin's and one at the top the end's, whose places are known.
    ///
    /// # Errors
    ///
    /// The sheaf, whatever is in it, when it is not empty, or full, as said.
    ///
    /// # Safety
    ///
    /// Caller: as for [`from_top`](Self::from_top); the sheaf is of `class`, one of
    /// small objects.
    #[inline]
    pub(crate) unsafe fn from_end(top: Top, class: Class, end: End) -> Result<Self, Self> {
        let mark = match end {
            End::Empty => top.below().1,
            End::Full => top.at().1,
        };
        if !is_mark(mark) {
            // SAFETY: by the contract.
            return Err(unsafe { Self::from_between(top) });
        }
        let len = match end {
            End::Empty => 0,
            End::Full => capacity(class, Self::order_of_mark(mark)),
        };
        // SAFETY: the begin mark lies below the objects.
        let sheaf = Self { block: unsafe { top.0.sub(len + 1) }, len };
        debug_assert!(is_mark(sheaf.mark()) && top.len() == len, "a mark out of its place");
        Ok(sheaf)
    }

    /// As [`from_top`](Self::from_top), for a top that is not at the end it was seen at.
    ///
    /// # Safety
    ///
    /// Caller: as for `from_top`.
    #[cold]
    #[inline(never)]
    unsafe fn from_between(top: Top) -> Self {
        // SAFETY: by the contract.
        unsafe { Self::from_top(top) }
    }

    /// The top, which now owns the sheaf.
    pub(crate) fn into_top(self) -> Top {
        // SAFETY: `len` is at most the capacity.
        Top(unsafe { self.block.add(1 + self.len) })
    }

    pub(super) fn word(&self, at: usize) -> &Word {
        // SAFETY: C1 and C2; callers stay inside the block.
        unsafe { self.block.add(at).as_ref() }
    }

    fn mark(&self) -> *mut u8 {
        self.word(0).load(Relaxed)
    }

    /// The block's order.
    pub(crate) fn order(&self) -> u8 {
        Self::order_of_mark(self.mark())
    }

    /// The order of the block that has this mark.
    pub(crate) fn order_of_mark(mark: *mut u8) -> u8 {
        (mark.addr() >> ORDER_SHIFT & ORDER_MASK) as u8
    }

    /// The block, to be formatted again; the objects must be gone.
    pub(crate) fn into_block(self) -> NonNull<Word> {
        debug_assert!(self.len == 0, "objects would leak");
        self.block
    }

    /// Objects held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The objects, the next to be popped last.
    pub(crate) fn objects(&self) -> &[Word] {
        // SAFETY: words 1 to `len` are objects; C1.
        unsafe { core::slice::from_raw_parts(self.block.add(1).as_ptr(), self.len) }
    }

    /// Lets `fill` store objects from the end of all free slots downwards, as many
    /// as it says it did, and puts them on top of what the sheaf has.
    pub(crate) fn fill(&mut self, class: Class, fill: impl FnOnce(&[Word]) -> usize) -> usize {
        let room = capacity(class, self.order()) - self.len;
        // SAFETY: words 1 to the capacity are the slots, those up to `len` in use; C1.
        let slots =
            unsafe { core::slice::from_raw_parts(self.block.add(1 + self.len).as_ptr(), room) };
        let filled = fill(slots);
        let skip = room - filled;
        if skip > 0 {
            for at in 0..filled {
                slots[at].store(slots[at + skip].load(Relaxed), Relaxed);
            }
        }
        self.len += filled;
        filled
    }

    /// Puts the objects in random order, by a number for each (Fisher and
    /// Yates).
    pub(crate) fn shuffle(&mut self, mut random: impl FnMut() -> usize) {
        for at in (2..=self.len).rev() {
            let other = random() % at + 1;
            let (one, two) = (self.word(at), self.word(other));
            let object = one.load(Relaxed);
            one.store(two.load(Relaxed), Relaxed);
            two.store(object, Relaxed);
        }
    }

    /// Takes the object on top.
    pub(crate) fn pop(&mut self) -> Option<NonNull<u8>> {
        self.len = self.len.checked_sub(1)?;
        NonNull::new(self.word(self.len + 1).load(Relaxed))
    }

    /// Puts an object on top; there is room.
    pub(crate) fn push(&mut self, object: NonNull<u8>) {
        self.word(self.len + 1).store(object.as_ptr(), Relaxed);
        self.len += 1;
    }

    /// Forgets the objects, which somebody else has now.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

// C1: one owner, so no copies; and no trip to another thread but through a
// list under a lock, or a front end.
static_assertions::assert_not_impl_any!(Sheaf: Clone, Copy, Send, Sync);
// The whole state of a sheaf is one word, and "none" needs no other.
static_assertions::assert_eq_size!(Option<Top>, usize);

#[cfg(test)]
#[path = "sheaf_tests.rs"]
mod tests;
