//! Size classes: which object size serves a request.
//!
//! 8 to 64 by 8, then 80, 96, 112, 128, then four classes a doubling up to
//! 32 KiB, and from 4 KiB on a fifth at nine eighths of the power of two: 47
//! classes, at most about 20 % slack. The class is a pure function of size and
//! alignment, so a sized free computes it again and needs no look-up. Eight
//! classes a doubling were measured to change the resident set by 1 % and were
//! rejected; but a buffer of some pages *and a header* is what databases and
//! streams ask for, and it wasted 17 % of each.
//!
//! Every class size is a multiple of the alignment that led to it: rounding
//! a size up to a multiple of `align` always lands on a class whose size is a
//! multiple of `align` (proved by exhaustion in the tests), and a slab starts
//! at a multiple of its own size. So natural alignment up to
//! [`MAX_CLASS_ALIGN`] costs nothing; beyond it, runs of pages serve.
//!
//! Runs have classes, too, up to 4 MiB and four a doubling: CPUs cache a few of
//! each as they do small objects, and a run that is taken again is one whose
//! first pages have memory behind them. What a class rounds up to is address
//! space; its pages get memory when they are used.

use super::units::{PAGE_SHIFT, PAGE_SIZE, PageCount};

/// Number of classes of small objects, including class 0, "neither a small
/// object nor a run with a class".
pub const CLASSES: usize = 48;

/// Number of classes of runs.
pub const RUN_CLASSES: usize = 28;

/// Number of all classes, with class 0.
pub const ALL_CLASSES: usize = CLASSES + RUN_CLASSES;

/// Largest size in bytes of a run that has a class.
pub const MAX_CLASS_RUN: usize = 4 << 20;

/// Largest size in bytes that a class serves.
pub const MAX_SMALL: usize = 32 * 1024;

/// Largest alignment in bytes that a class serves.
pub const MAX_CLASS_ALIGN: usize = PAGE_SIZE;

/// Words in the bitmap of the smallest slab: what fits in the descriptors of
/// four pages behind a slab's header.
const MAX_OBJECTS: u32 = 26 * 64;

/// The logarithm of [`MAX_SMALL`]: where the classes of runs start.
const RUN_SHIFT: u32 = MAX_SMALL.ilog2();

/// A class of small objects, a class of runs of pages, or [`Class::LARGE`] for
/// a run without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Class(u8);

/// What the layers need to know of a class, computed at compile time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassInfo {
    /// Object size in bytes.
    pub size: u32,
    /// Pages of a slab; a power of two.
    pub slab_pages: u32,
    /// Objects of a slab.
    pub objects: u32,
    /// `ceil(2^32 / size)`: `(offset * reciprocal) >> 32` is the object index
    /// for every offset inside a slab (exhaustively tested).
    pub reciprocal: u32,
    /// How far, in bytes, the first object may be moved inside the slab.
    pub colour_room: u32,
    /// Objects that a sheaf of this class holds at most.
    pub sheaf_max: u16,
    /// Objects that the first sheaf of a CPU holds at most.
    pub first_sheaf_max: u16,
}

const fn sizes() -> [u32; ALL_CLASSES] {
    let mut sizes = [0; ALL_CLASSES];
    let mut class = 1;
    while class <= 8 {
        sizes[class] = 8 * class as u32;
        class += 1;
    }
    while class <= 12 {
        sizes[class] = 64 + 16 * (class as u32 - 8);
        class += 1;
    }
    let mut base = 128;
    while base < MAX_SMALL as u32 {
        if base >= PAGE_SIZE as u32 {
            sizes[class] = base + base / 8;
            class += 1;
        }
        let mut step = 1;
        while step <= 4 {
            sizes[class] = base + base / 4 * step;
            class += 1;
            step += 1;
        }
        base *= 2;
    }
    assert!(class == CLASSES && sizes[CLASSES - 1] as usize == MAX_SMALL);
    while class < ALL_CLASSES {
        let at = class - CLASSES;
        sizes[class] = (5 + at as u32 % 4) << (RUN_SHIFT - 2 + at as u32 / 4);
        class += 1;
    }
    assert!(sizes[ALL_CLASSES - 1] as usize == MAX_CLASS_RUN);
    sizes
}

const SIZES: [u32; ALL_CLASSES] = sizes();

const fn info(class: usize) -> ClassInfo {
    let size = SIZES[class];
    // Sized so that a slab holds a useful number of objects and yet a small
    // process stays small: pages are touched one by one as objects are used.
    let slab_pages = if size <= 1024 {
        4
    } else if size <= 8192 {
        16
    } else {
        64
    };
    let bytes = slab_pages * PAGE_SIZE as u32;
    let mut objects = bytes / size;
    if objects > MAX_OBJECTS {
        objects = MAX_OBJECTS;
    }
    // A CPU's first sheaf holds 64 KiB of objects, and never under two. Where that is
    // less than 62, later ones grow to so many, or 512 KiB, where the stash allows (see
    // `Stash::grow_order`): without, batches of many sizes took three fifths more time,
    // and a fifth more memory. With 126 of 1 and 2 KiB, loads whose sizes shift took a
    // tenth more memory.
    let mut first_sheaf_max = 64 * 1024 / size;
    if first_sheaf_max < 2 {
        first_sheaf_max = 2;
    }
    let mut sheaf_max = 512 * 1024 / size;
    if sheaf_max > 62 {
        sheaf_max = if first_sheaf_max > 62 { first_sheaf_max } else { 62 };
    }
    ClassInfo {
        size,
        slab_pages,
        objects,
        reciprocal: (1u64 << 32).div_ceil(size as u64) as u32,
        colour_room: bytes - objects * size,
        // At most 8,192 objects of 8 bytes: it fits.
        sheaf_max: sheaf_max as u16,
        first_sheaf_max: first_sheaf_max as u16,
    }
}

const fn infos() -> [ClassInfo; CLASSES] {
    let mut table = [ClassInfo {
        size: 0,
        slab_pages: 1,
        objects: 0,
        reciprocal: 0,
        colour_room: 0,
        sheaf_max: 0,
        first_sheaf_max: 0,
    }; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        table[class] = Class(class as u8).info_const();
        class += 1;
    }
    table
}

static INFO: [ClassInfo; CLASSES] = infos();

const fn smallest_holding(size: usize) -> u8 {
    let mut class = 1;
    while (SIZES[class] as usize) < size {
        class += 1;
    }
    class as u8
}

/// Sizes below this have their classes in tables: a byte a size, one load.
///
/// An index of `ceil(size / 8)` would make a table 129 bytes short instead of
/// 1,025, and every hit two instructions longer.
pub const TABLED: usize = 1025;

/// Classes by size for objects aligned to `align`; up to `exempt` bytes, to 8.
const fn by_size<const SIZES: usize>(align: usize, exempt: usize) -> [u8; SIZES] {
    let mut table = [0; SIZES];
    let mut size = 0;
    while size < SIZES {
        let wanted = if size == 0 { 1 } else { size };
        let align = if wanted <= exempt { 8 } else { align };
        table[size] = smallest_holding(wanted.next_multiple_of(align));
        size += 1;
    }
    table
}

/// For alignments of 8 and less. A constant, as the next ones: the contents of
/// a static are not known to other crates, and constant sizes would not fold.
const BY_SIZE: &[u8; TABLED] = &by_size(8, 0);

/// Sizes below this have their classes for an alignment of 16 in a table: those
/// below [`TABLED`] with a header of up to 64 bytes.
const TABLED_16: usize = TABLED + 64;

/// For an alignment of 16.
const BY_SIZE_16: &[u8; TABLED_16] = &by_size(16, 0);

/// Under C's promise of 16 bytes alignment for everything that can hold a
/// `max_align_t`.
const BY_SIZE_FOR_C: &[u8; TABLED] = &by_size(16, 8);

/// Class by `ceil(size / 128)` above 1 KiB: every class there is a multiple
/// of 128.
static BY_128: [u8; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < table.len() {
        table[i] = smallest_holding(if i == 0 { 1 } else { i * 128 });
        i += 1;
    }
    table
};

impl Class {
    /// Class 0: a run of pages that is too large or too much aligned for a
    /// class. Its sheaf is for ever empty and full at once, so every fast path
    /// misses on it and no path tests for it.
    pub const LARGE: Self = Self(0);

    /// The class for a request, or [`Class::LARGE`]. `align` must be a power
    /// of two. Never fails: size 0 is served as size 1.
    #[must_use]
    #[inline(always)]
    pub const fn of(size: usize, align: usize) -> Self {
        if size < TABLED {
            // SAFETY: as just tested.
            unsafe { Self::of_tabled(size, align) }
        } else {
            Self::of_medium(size, align)
        }
    }

    /// [`of`](Self::of) for a size below [`TABLED`]: one load when `align` is
    /// a constant of at most 16, nothing when the size is constant as well.
    ///
    /// # Safety
    ///
    /// Caller: `size` is below [`TABLED`].
    #[must_use]
    #[inline(always)]
    pub const unsafe fn of_tabled(size: usize, align: usize) -> Self {
        if align <= 8 {
            // SAFETY: the table has an entry for each size below `TABLED`.
            Self(unsafe { *BY_SIZE.as_ptr().add(size) })
        } else if align == 16 {
            // SAFETY: as above.
            Self(unsafe { *BY_SIZE_16.as_ptr().add(size) })
        } else if size == 0 {
            Self::of_medium(1, align)
        } else {
            Self::of_medium(size, align)
        }
    }

    /// [`of`](Self::of) for an alignment of 16 and a size below [`TABLED`] plus
    /// `HEAD`, up to 64.
    ///
    /// # Safety
    ///
    /// Caller: `size` is below [`TABLED`].
    #[inline(always)]
    pub(crate) const unsafe fn of_headed<const HEAD: usize>(size: usize) -> Self {
        const { assert!(TABLED + HEAD <= TABLED_16, "the table has an entry for each") };
        // SAFETY: by the contract, and as just asserted.
        Self(unsafe { *BY_SIZE_16.as_ptr().add(size + HEAD) })
    }

    /// The same for sizes from [`TABLED`] on; `None` where it is no slab's class.
    #[inline(always)]
    pub(crate) const fn of_headed_medium<const HEAD: usize>(size: usize) -> Option<Self> {
        if size > MAX_SMALL - HEAD {
            return None;
        }
        Some(Self(BY_128[(size + HEAD + 127) >> 7]))
    }

    /// [`of`](Self::of) for a size above 0, by rounding it up.
    #[inline]
    const fn of_medium(size: usize, align: usize) -> Self {
        if align > MAX_CLASS_ALIGN {
            return Self::LARGE;
        }
        if size > MAX_SMALL {
            return Self::of_run(size);
        }
        if size >= TABLED && align <= 128 {
            // Every class from there on is a multiple of 128.
            return Self(BY_128[(size + 127) >> 7]);
        }
        let rounded = (size + align - 1) & !(align - 1);
        if rounded < TABLED {
            Self(BY_SIZE[rounded])
        } else if rounded <= MAX_SMALL {
            Self(BY_128[(rounded + 127) >> 7])
        } else {
            Self::of_run(rounded)
        }
    }

    /// The class for C's `malloc(size)`: at least 16 bytes alignment for
    /// every size above 8.
    #[must_use]
    #[inline(always)]
    pub const fn for_malloc(size: usize) -> Self {
        if size < TABLED {
            // SAFETY: as just tested.
            unsafe { Self::for_malloc_tabled(size) }
        } else {
            Self::of_medium(size, 16)
        }
    }

    /// [`for_malloc`](Self::for_malloc) for a size below [`TABLED`].
    ///
    /// # Safety
    ///
    /// Caller: `size` is below [`TABLED`].
    #[must_use]
    #[inline(always)]
    pub const unsafe fn for_malloc_tabled(size: usize) -> Self {
        // SAFETY: the table has an entry for each size below `TABLED`.
        Self(unsafe { *BY_SIZE_FOR_C.as_ptr().add(size) })
    }

    /// A class of small objects for C's `malloc(size)`, the smallest for sizes from
    /// [`TABLED`] on; `None` for those above [`MAX_SMALL`]. Size 0 may miss.
    #[must_use]
    #[inline(always)]
    pub const fn for_malloc_medium(size: usize) -> Option<Self> {
        if size > MAX_SMALL { None } else { Some(Self(BY_128[(size + 127) >> 7])) }
    }

    /// The class of a run of `size` bytes, more than [`MAX_SMALL`].
    #[inline(always)]
    const fn of_run(size: usize) -> Self {
        if size > MAX_CLASS_RUN {
            return Self::LARGE;
        }
        let last = size - 1;
        let log = last.ilog2();
        let quarter = (last >> (log - 2)) & 3;
        Self(CLASSES as u8 + 4 * (log - RUN_SHIFT) as u8 + quarter as u8)
    }

    /// The class with this index; [`Class::LARGE`] when out of range.
    #[must_use]
    #[inline(always)]
    pub const fn from_index(index: u8) -> Self {
        if (index as usize) < ALL_CLASSES { Self(index) } else { Self::LARGE }
    }

    /// All classes of small objects, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..CLASSES as u8).map(Self)
    }

    /// All classes of runs, smallest first.
    pub fn runs() -> impl Iterator<Item = Self> {
        (CLASSES as u8..ALL_CLASSES as u8).map(Self)
    }

    /// The index into tables: below [`CLASSES`] for small objects, below
    /// [`ALL_CLASSES`] for runs.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Size of an object or run in bytes; 0 for [`Class::LARGE`].
    #[must_use]
    #[inline]
    pub const fn size(self) -> usize {
        SIZES[self.index()] as usize
    }

    /// Whether this is a class of small objects.
    #[must_use]
    #[inline(always)]
    pub const fn is_small(self) -> bool {
        self.0.wrapping_sub(1) < CLASSES as u8 - 1
    }

    /// Whether this is a class of runs.
    #[must_use]
    #[inline(always)]
    pub const fn is_run(self) -> bool {
        self.0 >= CLASSES as u8
    }

    /// Pages of a run of this class; 0 for [`Class::LARGE`].
    #[inline]
    pub(crate) const fn pages(self) -> PageCount {
        PageCount((self.size() >> PAGE_SHIFT) as u32)
    }

    /// The bit of a class of runs in a word with one for each.
    #[inline]
    pub(crate) const fn run_bit(self) -> u32 {
        1 << (self.0 - CLASSES as u8)
    }

    #[inline]
    pub(crate) const fn info(self) -> &'static ClassInfo {
        &INFO[self.index()]
    }

    /// The same for constants.
    pub(crate) const fn info_const(self) -> ClassInfo {
        info(self.index())
    }

    /// How the class is written in a page's class byte.
    #[inline(always)]
    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// The class with that byte. No test: it is on the path of every free.
    ///
    /// # Safety
    ///
    /// Caller: the byte is one of [`byte`](Self::byte), or 0.
    #[inline(always)]
    pub(crate) const unsafe fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The largest power of two that divides the size, at most
    /// [`MAX_CLASS_ALIGN`]: what every object is aligned to.
    pub(crate) const fn natural_align(self) -> usize {
        let low = self.size() & self.size().wrapping_neg();
        if low > MAX_CLASS_ALIGN { MAX_CLASS_ALIGN } else { low }
    }
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
