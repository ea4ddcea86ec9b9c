//! What the loader says: `hvm_start_info` of the PVH boot ABI.

use super::boot;

/// The loader's information, version 1 or newer.
#[repr(C)]
pub(crate) struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modules_at: u64,
    command_line_at: u64,
    rsdp_at: u64,
    memory_map_at: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// A piece of the physical address space.
#[repr(C)]
pub(crate) struct MemoryRegion {
    start: u64,
    bytes: u64,
    kind: u32,
    reserved: u32,
}

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

unsafe extern "C" {
    /// First byte after the image (`link.ld`).
    static image_end: u8;
}

impl StartInfo {
    /// The memory map.
    ///
    /// # Panics
    ///
    /// When the loader is not one of PVH, version 1.
    pub(crate) fn memory_map(&'static self) -> &'static [MemoryRegion] {
        assert!(self.magic == MAGIC && self.version >= 1, "booted by another loader");
        let entries = self.memory_map_entries as usize;
        let first = (boot::PHYSICAL_MEMORY + self.memory_map_at) as *const MemoryRegion;
        // SAFETY: the loader's table, in memory that is mapped and that nobody
        // writes: frames are taken above the image alone.
        unsafe { core::slice::from_raw_parts(first, entries) }
    }
}

impl MemoryRegion {
    /// First and last frame address (exclusive) that the kernel may use: RAM
    /// that is mapped, above the image; what lies below is the loader's.
    pub(crate) fn usable(&self) -> Option<(u64, u64)> {
        let image = (&raw const image_end).addr() as u64;
        let start = self.start.max(image).next_multiple_of(4096);
        let end = (self.start + self.bytes).min(boot::MAPPED_BYTES) & !4095;
        (self.kind == RAM && start < end).then_some((start, end))
    }
}
