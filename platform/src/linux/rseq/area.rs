//! The memory that each thread shares with the kernel, and whose it is.
//!
//! A thread has one area at most. glibc registers one for every thread before
//! any of our code runs there, and says where it is (2.35 on; some
//! distributions earlier). Where it does not (musl, older ones, or told so by
//! `GLIBC_TUNABLES=glibc.pthread.rseq=0`) each thread registers an area of
//! ours at its first slow path. Either way areas are at a constant offset
//! from the thread pointer, which fast paths load.
//!
//! Where threads have the caches, hits look at our areas too: the number is
//! then the thread's own, and the kernel knows of none of them.
//!
//! Until a thread has registered ours, the number in it leads to an entry
//! that is `STOPPED` for ever, so the thread misses. So it does again after
//! its area has been taken back, at the thread's end: some C libraries unmap
//! a thread's memory while the thread still runs, and the kernel would write
//! to it. With glibc's areas nothing is to be done there.
//!
//! We only ever write `rseq_cs`; the other fields are the kernel's, and
//! writing them (as caching a pointer in the area needs) broke with Linux
//! 6.19. Of our own area the number is ours while it is not registered.

use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicUsize, Ordering};

use super::super::env::quietly;
use super::super::threads;
use super::{NUMBERS, arch};

/// Offsets in an area, by the kernel's ABI.
const CPU_ID: isize = 4;
/// Came with the next one, Linux 6.3.
const NODE_ID: isize = 20;
const MM_CID: isize = 24;

/// Bytes of an area of ours: the first version's, which every kernel takes.
const BYTES: u32 = 32;

/// `RSEQ_FLAG_UNREGISTER`.
const UNREGISTER: libc::c_int = 1;

/// Number of a thread that has not registered our area yet.
const OUTSIDER: u32 = NUMBERS as u32;
/// ... of one that could not, or has ended.
const REFUSED: u32 = OUTSIDER + 1;

core::arch::global_asm!(
    ".pushsection .tdata.granule_rseq, \"awT\", %progbits",
    ".p2align 5",
    ".hidden granule_rseq_area_0_1",
    ".globl granule_rseq_area_0_1",
    ".type granule_rseq_area_0_1, %object",
    ".size granule_rseq_area_0_1, 32",
    "granule_rseq_area_0_1:",
    ".long 0, {outsider}, 0, 0, 0, 0, {outsider}, 0",
    ".popsection",
    outsider = const OUTSIDER,
);

/// The areas fast paths use, as an offset from the thread pointer, where CPUs
/// have dense numbers; 0 as long as, or because, they do not.
static DENSE: AtomicIsize = AtomicIsize::new(0);
/// The same, where they have physical numbers.
static PHYSICAL: AtomicIsize = AtomicIsize::new(0);
/// Every number is below.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// Whether the areas are ours.
static OURS: AtomicBool = AtomicBool::new(false);

/// Which field numbers CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Numbers {
    /// `mm_cid`.
    Dense,
    /// `cpu_id`.
    Physical,
}

impl Numbers {
    /// The areas that are used with such numbers, or 0.
    #[inline(always)]
    pub(in crate::linux) fn areas(self) -> isize {
        // Relaxed: `publish` has seen to it that all else is visible before.
        self.published().load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn published(self) -> &'static AtomicIsize {
        match self {
            Self::Dense => &DENSE,
            Self::Physical => &PHYSICAL,
        }
    }

    #[inline]
    fn offset(self) -> isize {
        match self {
            Self::Dense => MM_CID,
            Self::Physical => CPU_ID,
        }
    }

    /// Those that are used.
    #[inline]
    fn chosen() -> Option<(Self, isize)> {
        let published = |numbers: Self| match numbers.areas() {
            0 => None,
            areas => Some((numbers, areas)),
        };
        published(Self::Dense).or_else(|| published(Self::Physical))
    }
}

/// Our areas, registered or not.
pub(in crate::linux) fn own() -> isize {
    arch::own_offset()
}

/// The node of the CPU that the caller runs on, where areas say it: 0 as long as
/// the thread's is not registered.
pub(in crate::linux) fn node() -> Option<u32> {
    let areas = Numbers::Dense.areas();
    (areas != 0).then(|| field(areas + NODE_ID).load(Ordering::Relaxed))
}

/// Gives the calling thread's area of ours, which the kernel does not know of,
/// a number that leads hits to the thread's cache; `None` leads them nowhere.
pub(in crate::linux) fn set_own_number(number: Option<usize>) {
    let number = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(REFUSED);
    field(own() + MM_CID).store(number, Ordering::Relaxed);
}

/// The number that [`set_own_number`] gave the calling thread.
pub(in crate::linux) fn own_number() -> Option<usize> {
    let number = field(own() + MM_CID).load(Ordering::Relaxed);
    usize::try_from(number).ok().filter(|number| *number < NUMBERS)
}

/// Every CPU's number is below.
#[inline]
pub(super) fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// Areas that may be used.
#[derive(Clone, Copy, Debug)]
pub(in crate::linux) struct Areas {
    offset: isize,
    numbers: Numbers,
    limit: usize,
    ours: bool,
}

impl Areas {
    /// The areas there are, where CPUs have numbers below `limit`: the C
    /// library's or, when it has none, ours. The calling thread's is then
    /// registered; `None` when that is refused, because there is another's.
    pub(super) fn find(numbers: Numbers, limit: usize) -> Option<Self> {
        let areas = match library_areas() {
            Some(offset) => Self { offset, numbers, limit, ours: false },
            None => Self { offset: arch::own_offset(), numbers, limit, ours: true },
        };
        (!areas.ours || register(areas.offset)).then_some(areas)
    }

    /// The number of the CPU the caller runs on.
    pub(super) fn number(&self) -> u32 {
        field(self.index()).load(Ordering::Relaxed)
    }

    /// The physical CPU's, which the kernel keeps in any case.
    pub(super) fn cpu_id(&self) -> u32 {
        field(self.offset + CPU_ID).load(Ordering::Relaxed)
    }

    pub(super) fn offset(&self) -> isize {
        self.offset
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    fn index(&self) -> isize {
        self.offset + self.numbers.offset()
    }

    /// Makes everything known but that these areas are chosen.
    pub(super) fn prepare(&self) {
        LIMIT.store(self.limit, Ordering::Relaxed);
        OURS.store(self.ours, Ordering::Relaxed);
    }

    /// Takes back what [`find`](Self::find) has done.
    pub(super) fn give_up(&self) {
        if self.ours {
            unregister(self.offset, self.index());
        }
    }
}

/// Makes fast paths use the areas. `membarrier` before it spares them a
/// barrier: a thread that sees the offset sees all that was stored before.
pub(super) fn publish(areas: &Areas) {
    // Release: for those who have no barrier but look at the choice first.
    areas.numbers.published().store(areas.offset, Ordering::Release);
    if areas.ours {
        at_exit();
    }
}

/// A word of the calling thread's, by its offset from the thread pointer.
#[inline]
fn field(offset: isize) -> &'static AtomicU32 {
    // SAFETY: areas are aligned, in memory of the calling thread that lives as
    // long as it does; the kernel writes words.
    unsafe { &*arch::thread_pointer().offset(offset).cast::<AtomicU32>() }
}

/// The number of the CPU the caller runs on; `None` where there is no cache
/// for it. Registers the calling thread if it has to be.
#[inline]
pub(super) fn number() -> Option<usize> {
    let (numbers, areas) = Numbers::chosen()?;
    let index = field(areas + numbers.offset());
    let number = match index.load(Ordering::Relaxed) {
        OUTSIDER if enter(areas) => index.load(Ordering::Relaxed),
        OUTSIDER => {
            index.store(REFUSED, Ordering::Relaxed);
            return None;
        }
        number => number,
    };
    usize::try_from(number).ok().filter(|number| *number < limit())
}

/// Registers the calling thread's area of ours.
#[cold]
fn enter(areas: isize) -> bool {
    register(areas) && at_exit()
}

/// Sees to it that the area is taken back in time. May allocate, with the
/// cache that the thread has already.
fn at_exit() -> bool {
    let called = threads::call_at_exit();
    if !called {
        thread_ends();
    }
    called
}

/// Takes the calling thread's area back if it is one of ours.
pub(in crate::linux) fn thread_ends() {
    if let Some((numbers, areas)) = Numbers::chosen()
        && OURS.load(Ordering::Relaxed)
    {
        unregister(areas, areas + numbers.offset());
    }
}

fn register(offset: isize) -> bool {
    rseq(offset, 0)
}

fn unregister(offset: isize, index: isize) {
    rseq(offset, UNREGISTER);
    // The kernel has put there what no entry is for.
    field(index).store(REFUSED, Ordering::Relaxed);
}

fn rseq(offset: isize, flags: libc::c_int) -> bool {
    let area = field(offset).as_ptr();
    let signature = arch::SIGNATURE;
    // SAFETY: the area is as long and aligned as the kernel wants it, and is
    // taken back before its memory goes.
    quietly(|| unsafe { libc::syscall(libc::SYS_rseq, area, BYTES, flags, signature) }) == 0
}

/// Offset of the C library's areas from the thread pointer, if it has any.
/// Their size says nothing more: 32, 20 or the true one, by version.
fn library_areas() -> Option<isize> {
    let (offset, size) = arch::library_symbols();
    // SAFETY: symbols of those types, where they exist, that do not change.
    unsafe { (size.as_ref().is_some_and(|size| *size != 0)).then(|| offset.as_ref().copied())? }
}
