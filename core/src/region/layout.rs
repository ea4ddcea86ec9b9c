//! Where tables and pages lie in a reservation.

use super::descriptor::{DESCRIPTOR_BYTES, TABLE_BYTES};
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, PageCount, align_down, align_up};

/// Bytes kept for the region's header.
pub(super) const HEADER_BYTES: usize = 2048;

/// Page 0 starts at a multiple of this where the reservation is large, so
/// that huge pages and slabs line up.
const BASE_ALIGN: usize = 2 << 20;

/// What is large enough for that.
const ALIGNED_FROM: usize = 64 << 20;

/// Addresses of a region's parts.
pub(super) struct Layout {
    pub classes: usize,
    pub tags: usize,
    pub descriptors: usize,
    pub base: usize,
    pub pages: u32,
}

/// Places tables and pages in a reservation of `bytes` at address `start`. The
/// last page of the address space is left out: no Rust object may end where
/// the next address is 0, and loops over its bytes would not run.
pub(super) fn layout(start: usize, bytes: usize, machine_page: usize) -> Option<Layout> {
    let last = match start.checked_add(bytes - 1)? {
        usize::MAX => usize::MAX - machine_page,
        last => last,
    };
    let align = if bytes >= ALIGNED_FROM { BASE_ALIGN } else { machine_page.max(PAGE_SIZE) };
    let header = align_up(HEADER_BYTES, DESCRIPTOR_BYTES)?;
    // One page more than can fit at first, then as many as do.
    let mut pages = (bytes.checked_sub(header)? / (PAGE_SIZE + TABLE_BYTES)).min(PageCount::MAX);
    loop {
        let classes = start + header;
        let tags = align_up(classes + pages, 4)?;
        let descriptors = align_up(tags + pages * 4, DESCRIPTOR_BYTES)?;
        let base = align_up(descriptors + pages * DESCRIPTOR_BYTES, align)?;
        // `last` and not the end, which is 0 at the top of the address space.
        let room = if base > last { 0 } else { align_down(last - base + 1, machine_page) };
        if pages == 0 {
            return None;
        }
        if pages <= room >> PAGE_SHIFT {
            return Some(Layout { classes, tags, descriptors, base, pages: pages as u32 });
        }
        pages = pages.min(room >> PAGE_SHIFT).min(pages - 1);
    }
}

/// Bytes to reserve for a region in which a run of `pages` aligned to
/// `align` pages surely fits. `None` when there can be none.
pub(super) fn bytes_for(pages: u32, align: u32, machine_page: usize) -> Option<usize> {
    let span = (pages as usize).checked_add(align as usize - 1)?;
    if span > PageCount::MAX {
        return None;
    }
    let pages = span + 2;
    let bytes = pages.checked_mul(PAGE_SIZE + TABLE_BYTES)?;
    let bytes = bytes.checked_add(HEADER_BYTES + 2 * machine_page + PAGE_SIZE)?;
    let room = if bytes >= ALIGNED_FROM - 2 * BASE_ALIGN { 2 * BASE_ALIGN } else { 0 };
    let bytes = bytes.checked_add(room)?;
    align_up(bytes, machine_page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::runs::Fit;

    #[test]
    fn tables_and_pages_fit_wherever_the_reservation_lies() {
        for (start, bytes) in [
            (0x10000, 64 << 10),
            (0x7000, 9 << 12),
            (0x10_0000, 1 << 20),
            (0x1234_5000, 37 << 20),
            (usize::MAX - (1 << 20) + 1, 1 << 20),
        ] {
            let place = layout(start, bytes, 4096).unwrap();
            assert!(place.classes >= start + HEADER_BYTES);
            assert!(place.tags >= place.classes + place.pages as usize);
            assert!(place.descriptors >= place.tags + 4 * place.pages as usize);
            assert!(place.base >= place.descriptors + 64 * place.pages as usize);
            let last = place.base + (((place.pages as usize) << PAGE_SHIFT) - 1);
            assert!(last <= start + (bytes - 1) && last < usize::MAX - PAGE_SIZE + 1);
            // Nothing much is left over.
            let lost = bytes - ((place.pages as usize) * (PAGE_SIZE + TABLE_BYTES));
            assert!(lost < 6 * PAGE_SIZE + if bytes >= ALIGNED_FROM { BASE_ALIGN * 2 } else { 0 });
        }
        assert!(layout(0x10000, 4096, 4096).is_none());
    }

    #[test]
    fn bytes_for_is_enough() {
        for (pages, align) in [(1, 1), (16, 16), (1000, 512), (100_000, 1), (4, 16384)] {
            for machine_page in [4096, 65536] {
                let bytes = bytes_for(pages, align, machine_page).unwrap();
                for start in [0x7000_0000 + machine_page, bytes.wrapping_neg()] {
                    let place = layout(start, bytes, machine_page).unwrap();
                    let fit = Fit { len: pages, align, phase: place.base >> PAGE_SHIFT };
                    assert!(fit.first_aligned(0) + u64::from(pages) <= u64::from(place.pages));
                }
            }
        }
    }
}
