//! Pages. Machine mode has none: the kernel runs on physical addresses. Only
//! its data accesses can be translated, for as long as `mstatus.MPRV` is set.
//!
//! Privileged ISA 3.1.6.3 `MPRV`: loads and stores are done as in the mode of
//! `MPP`; 4.1.11 `satp`; 4.4 Sv39: three levels of 512 entries, for pages of 4
//! KiB, 2 MiB and 1 GiB. Entries are `physical >> 12 << 10 | flags`.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

pub use crate::page_size::PageSize;

use crate::cpu;
use crate::memory::BootInfo;

/// What [`with_top_mapped`] maps at most, whatever the size of pages.
pub const MAX_TOP_BYTES: usize = LEAVES << 21;

const ENTRIES: usize = 512;
/// Tables of the lowest level, each for 2 MiB.
const LEAVES: usize = 16;

const VALID: u64 = 1 << 0;
/// Readable, writable, accessed and dirty: a page that never faults.
const DATA: u64 = VALID | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 7;
/// `satp.MODE`.
const SV39: usize = 8 << 60;
/// `mstatus.MPRV`.
const MPRV: usize = 1 << 17;
/// `mstatus.MPP`, two bits, and its value for supervisor mode.
const MPP: usize = 0b11 << 11;
const MPP_SUPERVISOR: usize = 0b01 << 11;

#[repr(C, align(4096))]
struct Tables {
    root: [u64; ENTRIES],
    middle: [u64; ENTRIES],
    leaves: [[u64; ENTRIES]; LEAVES],
}

static mut TABLES: Tables =
    Tables { root: [0; ENTRIES], middle: [0; ENTRIES], leaves: [[0; ENTRIES]; LEAVES] };

fn tables() -> *mut Tables {
    &raw mut TABLES
}

/// Whether a core uses `TABLES`.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Accepts 4 KiB, the size of Sv39's pages, as what the argument `page=` says.
pub(crate) fn enable(boot: &BootInfo) -> Result<(), &'static str> {
    match boot.page_size() {
        Some(PageSize::Kib4) => Ok(()),
        Some(_) => Err("this machine has pages of 4 KiB alone"),
        None => Err("page= is none of 4k, 16k and 64k"),
    }
}

/// The size of pages in use.
#[must_use]
pub fn page_size() -> PageSize {
    PageSize::Kib4
}

/// Calls `work` with the physical range mapped so that it ends with the
/// address space: its last byte has address `usize::MAX`. Interrupts are
/// masked meanwhile; everything else stays where it was. For this core only.
///
/// # Panics
///
/// Where either is not of whole pages, or `bytes` is 0 or more than
/// [`MAX_TOP_BYTES`], or another core is at it.
///
/// # Safety
///
/// Caller: the range is RAM that nobody else uses meanwhile.
pub unsafe fn with_top_mapped<R>(
    physical: usize,
    bytes: usize,
    work: impl FnOnce(*mut u8) -> R,
) -> R {
    const PAGE: usize = PageSize::Kib4.bytes();
    assert!(physical.is_multiple_of(PAGE) && bytes.is_multiple_of(PAGE), "no whole pages");
    assert!((1..=MAX_TOP_BYTES).contains(&bytes), "too little or too much");
    // Acquire: pairs with the Release at the end.
    assert!(!TAKEN.swap(true, Ordering::Acquire), "another core is at it");
    let _masked = cpu::mask();
    // SAFETY: `TAKEN` keeps other cores out, masked interrupts this one's
    // handlers.
    let tables = unsafe { &mut *tables() };
    tables.fill(physical, bytes);
    let root = (&raw const tables.root).addr();
    // SAFETY: the tables are complete. Low addresses mean what they did, so
    // that Rust code notices nothing, but for the range at the top.
    unsafe { translate_data(root) };
    let result = work(core::ptr::with_exposed_provenance_mut(bytes.wrapping_neg()));
    // SAFETY: back to what was.
    unsafe { asm!("csrc mstatus, {}", in(reg) MPRV, options(nostack)) };
    TAKEN.store(false, Ordering::Release);
    result
}

/// Sets `satp`, and does loads and stores as supervisor mode does.
///
/// # Safety
///
/// Caller: the tables at `root` map what is used from now on.
unsafe fn translate_data(root: usize) {
    // SAFETY: by the contract above. Machine mode uses `MPP` when it returns
    // from a trap only, and each trap sets it anew.
    unsafe {
        asm!(
            "csrw satp, {satp}",
            "sfence.vma",
            "csrc mstatus, {mpp}",
            "csrs mstatus, {supervisor}",
            satp = in(reg) SV39 | root >> 12,
            mpp = in(reg) MPP,
            supervisor = in(reg) MPP_SUPERVISOR | MPRV,
            options(nostack),
        );
    }
}

impl Tables {
    /// The lower half of the address space one to one, in pages of 1 GiB; at
    /// its top the range, in pages of 4 KiB.
    fn fill(&mut self, physical: usize, bytes: usize) {
        for (number, entry) in self.root[..ENTRIES / 2].iter_mut().enumerate() {
            *entry = at(number << 30) | DATA;
        }
        self.root[ENTRIES - 1] = at((&raw const self.middle).addr()) | VALID;
        for (table, entry) in self.leaves.iter().zip(&mut self.middle[ENTRIES - LEAVES..]) {
            *entry = at(table.as_ptr().addr()) | VALID;
        }
        let pages = self.leaves.as_flattened_mut();
        pages.fill(0);
        let first = pages.len() - (bytes >> 12);
        for (number, entry) in pages[first..].iter_mut().enumerate() {
            *entry = at(physical + (number << 12)) | DATA;
        }
    }
}

/// The physical address in an entry.
fn at(physical: usize) -> u64 {
    (physical >> 12 << 10) as u64
}
