//! Pages: one to one below, a range at the top of the address space above.
//!
//! Arm ARM, "The AArch64 Virtual Memory System Architecture": translation
//! tables, descriptors, `TCR_EL1`, `MAIR_EL1`, `SCTLR_EL1`. With addresses of
//! 36 bits, tables begin at level 1 or 2:
//!
//! ```text
//! pages    level 1        level 2                   level 3
//!  4 KiB   64 × 1 GiB     512 blocks of 2 MiB       512 pages
//! 16 KiB                  2048 blocks of 32 MiB     2048 pages
//! 64 KiB                  128 blocks of 512 MiB     8192 pages
//! ```
//!
//! `TTBR0_EL1` maps devices and RAM in blocks, `TTBR1_EL1` the top in pages.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use crate::page_size::PageSize;

use crate::cpu;
use crate::memory::{BootInfo, MemoryRange, RAM_START};

/// What [`with_top_mapped`] maps at most, whatever the size of pages.
pub const MAX_TOP_BYTES: usize = 32 << 20;

/// Addresses below and above are this long: `TCR_EL1.T0SZ` and `T1SZ` say by
/// how much 64 is more.
const ADDRESS_BITS: u32 = 36;

const DEVICES: MemoryRange = MemoryRange { start: 0, bytes: RAM_START };

/// Of a descriptor: bits 0 and 1 are its kind.
const TABLE: u64 = 0b11;
const BLOCK: u64 = 0b01;
const PAGE: u64 = 0b11;
/// Accessed before, inner shareable, `AttrIndx` 0: memory.
const MEMORY: u64 = 1 << 10 | 0b11 << 8;
/// Accessed before, `AttrIndx` 1, never executed: devices.
const DEVICE: u64 = 1 << 10 | 1 << 2 | NEVER_EXECUTED;
/// `UXN` and `PXN`.
const NEVER_EXECUTED: u64 = 0b11 << 53;
/// Of a table: where the next one is.
const NEXT: u64 = ((1 << 48) - 1) & !0xfff;

/// Attribute 0: normal memory, write-back, allocating; 1: device, nGnRE.
const MAIR: u64 = 0x04ff;
/// `SCTLR_EL1`: MMU, data caches, instruction caches on.
const SCTLR_M_C_I: u64 = 1 << 0 | 1 << 2 | 1 << 12;

/// All tables: pages of one size, the roots first.
#[repr(C, align(65536))]
struct Tables {
    pool: [u64; POOL_BYTES / 8],
    used: usize,
    size: PageSize,
}

/// Two roots and one table with pages of 64 KiB; many more with smaller ones.
const POOL_BYTES: usize = 256 << 10;

static mut TABLES: Tables = Tables { pool: [0; POOL_BYTES / 8], used: 0, size: PageSize::Kib4 };

fn tables() -> *mut Tables {
    &raw mut TABLES
}

/// Whether a core changes `TABLES`.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Of core 0, for the others: `TCR_EL1` and the roots. Relaxed: set before
/// they are started.
static TCR: AtomicU64 = AtomicU64::new(0);
static TTBR0: AtomicU64 = AtomicU64::new(0);
static TTBR1: AtomicU64 = AtomicU64::new(0);

/// Turns the MMU and caches on on this core, with pages of the size that the
/// argument `page=` says. Only for core 0, once.
pub(crate) fn enable(boot: &BootInfo) -> Result<(), &'static str> {
    let size = boot.page_size().ok_or("page= is none of 4k, 16k and 64k")?;
    if !is_supported(size) {
        return Err("this core has no pages of the size of page=");
    }
    // SAFETY: there is no other core yet, and no other reference.
    let tables = unsafe { &mut *tables() };
    tables.size = size;
    let low = tables.add();
    let high = tables.add();
    tables.map_blocks(low, DEVICES, DEVICE);
    for &range in boot.ram() {
        tables.map_blocks(low, range, MEMORY);
    }
    TTBR0.store(tables.physical(low), Ordering::Relaxed);
    TTBR1.store(tables.physical(high), Ordering::Relaxed);
    TCR.store(tcr(size), Ordering::Relaxed);
    follow();
    Ok(())
}

/// Turns the MMU on on this core as on core 0.
pub(crate) fn follow() {
    // SAFETY: the tables map everything in use to where it is.
    unsafe {
        asm!(
            "dsb sy",
            "msr mair_el1, {mair}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {low}",
            "msr ttbr1_el1, {high}",
            "isb",
            "tlbi vmalle1",
            "dsb sy",
            "isb",
            "mrs {old}, sctlr_el1",
            "orr {old}, {old}, {on}",
            "msr sctlr_el1, {old}",
            "isb",
            mair = in(reg) MAIR,
            tcr = in(reg) TCR.load(Ordering::Relaxed),
            low = in(reg) TTBR0.load(Ordering::Relaxed),
            high = in(reg) TTBR1.load(Ordering::Relaxed),
            on = in(reg) SCTLR_M_C_I,
            old = out(reg) _,
            options(nostack),
        );
    }
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
    let page = page_size().bytes();
    assert!(physical.is_multiple_of(page) && bytes.is_multiple_of(page), "no whole pages");
    assert!((1..=MAX_TOP_BYTES).contains(&bytes), "too little or too much");
    // Acquire: pairs with the Release at the end.
    assert!(!TAKEN.swap(true, Ordering::Acquire), "another core is at it");
    let _masked = cpu::mask();
    let start = bytes.wrapping_neg();
    let range = MemoryRange { start: physical, bytes };
    // SAFETY: `TAKEN` keeps other cores out, masked interrupts this one's
    // handlers; no reference lives while `work` runs.
    unsafe { (*tables()).map_top(range, MEMORY | NEVER_EXECUTED | PAGE) };
    flush();
    let result = work(core::ptr::with_exposed_provenance_mut(start));
    // SAFETY: as above.
    unsafe { (*tables()).map_top(range, 0) };
    flush();
    TAKEN.store(false, Ordering::Release);
    result
}

/// The size of pages in use.
#[must_use]
pub fn page_size() -> PageSize {
    // SAFETY: written before other cores start, and constant from then on.
    unsafe { (*tables()).size }
}

/// Makes changes of tables hold on all cores.
fn flush() {
    // SAFETY: forgets translations, all of which are in the tables.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack)) };
}

/// `ID_AA64MMFR0_EL1`: `TGran4` and `TGran64` are 0 where there are such
/// pages, `TGran16` is not.
fn is_supported(size: PageSize) -> bool {
    let features: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, id_aa64mmfr0_el1", out(reg) features, options(nomem, nostack)) };
    match size {
        PageSize::Kib4 => features >> 28 & 0xf != 0xf,
        PageSize::Kib16 => features >> 20 & 0xf != 0,
        PageSize::Kib64 => features >> 24 & 0xf != 0xf,
    }
}

/// `TCR_EL1`: sizes of addresses and pages below (`TG0`) and above (`TG1`);
/// tables are read as memory is; physical addresses of 36 bits (`IPS`).
fn tcr(size: PageSize) -> u64 {
    const WALKS: u64 = 0b11 << 12 | 0b01 << 10 | 0b01 << 8;
    const IPS_36: u64 = 0b001 << 32;
    let (tg0, tg1) = match size {
        PageSize::Kib4 => (0b00, 0b10),
        PageSize::Kib16 => (0b10, 0b01),
        PageSize::Kib64 => (0b01, 0b11),
    };
    let half = u64::from(64 - ADDRESS_BITS) | WALKS;
    half | half << 16 | tg0 << 14 | tg1 << 30 | IPS_36
}

/// Tables are known by their offset in the pool, in words.
impl Tables {
    /// A new table, all of its entries invalid.
    fn add(&mut self) -> usize {
        let table = self.used;
        self.used += self.size.bytes() / 8;
        assert!(self.used <= self.pool.len(), "no room for another table");
        table
    }

    fn physical(&self, table: usize) -> u64 {
        (&raw const self.pool[table]).addr() as u64
    }

    /// How many bits of an address an entry of this level leaves.
    fn shift(&self, level: u32) -> u32 {
        self.size.shift() + (3 - level) * (self.size.shift() - 3)
    }

    /// The entry for an address at a level, with the tables above it.
    fn entry(&mut self, root: usize, address: usize, level: u32) -> &mut u64 {
        let address = address & ((1 << ADDRESS_BITS) - 1);
        let mut table = root;
        let first = if self.shift(1) < ADDRESS_BITS { 1 } else { 2 };
        for above in first..level {
            let place = table + self.index(address, above);
            if self.pool[place] == 0 {
                let next = self.add();
                self.pool[place] = self.physical(next) | TABLE;
            }
            table = ((self.pool[place] & NEXT) - self.physical(0)) as usize / 8;
        }
        let index = self.index(address, level);
        &mut self.pool[table + index]
    }

    fn index(&self, address: usize, level: u32) -> usize {
        address >> self.shift(level) & (self.size.bytes() / 8 - 1)
    }

    /// Maps the blocks that a range touches to where they are.
    fn map_blocks(&mut self, root: usize, range: MemoryRange, attributes: u64) {
        let block = 1 << self.shift(2);
        for start in (range.start / block * block..range.end()).step_by(block) {
            *self.entry(root, start, 2) = start as u64 | attributes | BLOCK;
        }
    }

    /// Maps a range to the top of the address space, or unmaps it.
    fn map_top(&mut self, range: MemoryRange, attributes: u64) {
        let page = self.size.bytes();
        let root = page / 8; // The second table.
        for offset in (0..range.bytes).step_by(page) {
            let address = range.bytes.wrapping_neg() + offset;
            let descriptor = match attributes {
                0 => 0,
                attributes => (range.start + offset) as u64 | attributes,
            };
            *self.entry(root, address, 3) = descriptor;
        }
    }
}
