//! Page frames and page tables, as the tutorial has them: a frame allocator
//! that goes through the boot loader's memory map, and an `OffsetPageTable`.
//!
//! The tutorial's allocator only ever advances. This one takes frames back,
//! too, on a list through their first words.

use granule::base::sync::Lock;
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, OffsetPageTable, PageTable, PhysFrame, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

use super::boot_info::MemoryRegion;
use super::heap::KernelEnv;

const FRAME_BYTES: u64 = 4096;

/// Page tables and frames, under one lock: mapping needs both. `None` until
/// [`init`].
pub(crate) static MEMORY: Lock<Option<Memory>, KernelEnv> = Lock::new(None);

/// What the lock guards.
pub(crate) struct Memory {
    pub(crate) table: OffsetPageTable<'static>,
    pub(crate) frames: BootInfoFrameAllocator,
}

/// Sets the memory up.
///
/// # Safety
///
/// Caller: physical memory is mapped at `offset`; the usable regions of the
/// map are nobody's.
pub(crate) unsafe fn init(offset: u64, map: &'static [MemoryRegion]) {
    let offset = VirtAddr::new(offset);
    let level_4 = offset + Cr3::read().0.start_address().as_u64();
    // SAFETY: the active table, in mapped memory; this is the only reference.
    let table = unsafe { OffsetPageTable::new(&mut *level_4.as_mut_ptr::<PageTable>(), offset) };
    let frames = BootInfoFrameAllocator { map, next: 0, offset, freed: None, available: 0 };
    let memory = Memory { table, frames: frames.counted() };
    *MEMORY.lock() = Some(memory);
}

/// Frames out of the loader's memory map.
pub(crate) struct BootInfoFrameAllocator {
    map: &'static [MemoryRegion],
    /// No frame below was not handed out yet.
    next: u64,
    /// Where physical memory is mapped.
    offset: VirtAddr,
    /// The first frame that came back; its first word leads to the next one.
    freed: Option<PhysFrame>,
    available: usize,
}

impl BootInfoFrameAllocator {
    fn counted(mut self) -> Self {
        let usable = self.map.iter().filter_map(MemoryRegion::usable);
        self.available = usable.map(|(start, end)| ((end - start) / FRAME_BYTES) as usize).sum();
        self
    }

    /// Frames that can still be had.
    pub(crate) fn available(&self) -> usize {
        self.available
    }

    /// The first word of a frame.
    fn link(&self, frame: PhysFrame) -> *mut u64 {
        (self.offset + frame.start_address().as_u64()).as_mut_ptr()
    }

    /// A frame that was never handed out.
    fn fresh(&mut self) -> Option<PhysFrame> {
        let usable = self.map.iter().filter_map(MemoryRegion::usable);
        let frame = usable
            .filter(|(_, end)| self.next < *end)
            .map(|(start, _)| start.max(self.next))
            .min()?;
        self.next = frame + FRAME_BYTES;
        Some(PhysFrame::containing_address(PhysAddr::new(frame)))
    }
}

// SAFETY: a frame is handed out once until it comes back: fresh ones lie in
// increasing order, freed ones leave the list.
unsafe impl FrameAllocator<Size4KiB> for BootInfoFrameAllocator {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = match self.freed {
            Some(frame) => {
                // SAFETY: freed and mapped; `deallocate_frame` wrote the link.
                let next = unsafe { self.link(frame).read() };
                let next = PhysFrame::containing_address(PhysAddr::new(next));
                self.freed = (next.start_address().as_u64() != 0).then_some(next);
                Some(frame)
            }
            None => self.fresh(),
        };
        self.available -= usize::from(frame.is_some());
        frame
    }
}

impl FrameDeallocator<Size4KiB> for BootInfoFrameAllocator {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        // Frame 0 is never usable, so 0 ends the list.
        let next = self.freed.map_or(0, |next| next.start_address().as_u64());
        // SAFETY: by the contract the frame is ours now; it is mapped.
        unsafe { self.link(frame).write(next) };
        self.freed = Some(frame);
        self.available += 1;
    }
}
