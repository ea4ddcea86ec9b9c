//! Step 1 of the guide: where the heap's memory comes from. Addresses out of
//! the kernel's heap range, frames behind them when the heap commits.

use core::ptr::{NonNull, with_exposed_provenance_mut};

use granule::PageProvider;
use granule::base::sync::Lock;
use granule::provider::{Capabilities, ProviderError, Reservation};
use x86_64::VirtAddr;
use x86_64::structures::paging::page::PageRangeInclusive;
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, Mapper, Page, PageTableFlags, Size4KiB,
};

use super::heap::KernelEnv;
use super::memory::{MEMORY, Memory};

/// The addresses that the tutorial's kernel keeps for its heap, more of them.
const HEAP_START: usize = 0x_4444_4444_0000;
const HEAP_BYTES: usize = 64 << 30;

/// What a region takes at least. An empty region gives its frames back, so
/// small regions give back more; each costs look-ups a little.
const REGION: usize = 4 << 20;

const PAGE: usize = 4096;

/// Page tables that mapping a range within 1 GiB can need at most, besides
/// one for each 2 MiB.
const TABLES: usize = 4;

/// Reservations: start and bytes; 0 bytes is a free place.
static TAKEN: Lock<[(usize, usize); 64], KernelEnv> = Lock::new([(0, 0); 64]);

/// The heap's pages.
#[derive(Debug)]
pub(crate) struct HeapPages;

fn pages(start: NonNull<u8>, bytes: usize) -> PageRangeInclusive<Size4KiB> {
    let page = |address: usize| Page::containing_address(VirtAddr::new(address as u64));
    let start = start.addr().get();
    Page::range_inclusive(page(start), page(start + (bytes - 1)))
}

impl Memory {
    fn is_mapped(&self, page: Page) -> bool {
        self.table.translate_page(page).is_ok()
    }

    /// Maps those pages of a range that are not mapped yet: all, or none.
    fn map(&mut self, range: PageRangeInclusive) -> Result<(), ProviderError> {
        // Counted first, so that there is nothing to undo half-way; no further
        // than to what there is, for the heap may ask for any amount.
        let available = self.frames.available();
        let missing = range.filter(|page| !self.is_mapped(*page)).take(available + 1).count();
        if missing + missing / 512 + TABLES > available {
            return Err(ProviderError);
        }
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE;
        for page in range.filter(|_| missing > 0) {
            if self.is_mapped(page) {
                continue;
            }
            let frame = self.frames.allocate_frame().ok_or(ProviderError)?;
            // SAFETY: a page of the heap's and a frame that is nobody's.
            let mapped = unsafe { self.table.map_to(page, frame, flags, &mut self.frames) };
            mapped.map_err(|_| ProviderError)?.flush();
        }
        Ok(())
    }

    fn unmap(&mut self, range: PageRangeInclusive) {
        for page in range {
            // Pages that were never committed are not mapped.
            if let Ok((frame, flush)) = self.table.unmap(page) {
                flush.flush();
                // SAFETY: mapped nowhere any more but with all memory.
                unsafe { self.frames.deallocate_frame(frame) };
            }
        }
    }
}

// SAFETY: pieces of the heap range that do not overlap, backed by frames that
// are nobody else's once committed; nothing here allocates; both locks mask
// interrupts, by the same environment as the heap's.
unsafe impl PageProvider for HeapPages {
    fn page_size(&self) -> usize {
        PAGE
    }

    fn capabilities(&self) -> Capabilities {
        // No PURGE: purged pages would have to come back by themselves, and
        // this kernel's page faults are fatal. No FRESH_IS_ZERO: frames come
        // back as they were left.
        Capabilities::COMMIT | Capabilities::RELEASE
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed.max(REGION)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        let mut taken = TAKEN.lock();
        let place = taken.iter().position(|(_, bytes)| *bytes == 0).ok_or(ProviderError)?;
        // The first gap: behind whatever is in the way.
        let mut start = HEAP_START;
        while let Some((other, length)) = taken
            .iter()
            .find(|(other, length)| *other < start.saturating_add(bytes) && start < other + length)
        {
            start = other + length;
        }
        if bytes > HEAP_BYTES - (start - HEAP_START) {
            return Err(ProviderError);
        }
        taken[place] = (start, bytes);
        let start = NonNull::new(with_exposed_provenance_mut(start)).ok_or(ProviderError)?;
        Ok(Reservation { start, bytes })
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let mut memory = MEMORY.lock();
        memory.as_mut().ok_or(ProviderError)?.map(pages(start, bytes))
    }

    unsafe fn purge(&self, _start: NonNull<u8>, _bytes: usize) -> Result<(), ProviderError> {
        Err(ProviderError)
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let mut memory = MEMORY.lock();
        memory.as_mut().ok_or(ProviderError)?.unmap(pages(reservation.start, reservation.bytes));
        drop(memory);
        let start = reservation.start.addr().get();
        let mut taken = TAKEN.lock();
        let place = taken.iter_mut().find(|(other, bytes)| *other == start && *bytes > 0);
        *place.ok_or(ProviderError)? = (0, 0);
        Ok(())
    }
}
