//! Commit: pages and tables of a region, ahead of the watermark.
//!
//! The provider is called under the lock of the set.

use core::ptr::NonNull;

use super::descriptor::DESCRIPTOR_BYTES;
use super::region::{Region, State};
use crate::base::config::Config;
use crate::base::limits::{HugePages, Limits};
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, PageCount, align_down};
use crate::provider::{Capabilities, PageProvider};

/// Pages of a huge page: 2 MiB, as on every machine that has transparent ones
/// over pages of 4 KiB.
pub(super) const HUGE: u32 = 512;

/// Where tables that are not touched cost nothing they are committed for half as
/// many pages again, and in steps of so many, 16 MiB: 1.7 % of the pages, and
/// three calls.
const TABLES_STEP: u32 = 4096;

impl State {
    /// Commits pages and tables up to `end`, by a step more if it can: the
    /// larger the region, the larger.
    pub(super) fn commit<C: Config>(
        &mut self,
        region: &Region,
        provider: &C::Pages,
        end: u32,
    ) -> bool {
        if end <= self.committed {
            return true;
        }
        let limits = C::limits();
        let huge = limits.huge_pages == HugePages::Wanted
            && region.capabilities.contains(Capabilities::HUGE);
        let step = commit_step(&limits, self.committed, huge);
        let from = self.committed;
        let generous =
            end.checked_next_multiple_of(step).map_or(region.pages, |e| e.min(region.pages));
        let done = self.commit_exactly::<C>(region, provider, generous)
            || self.commit_exactly::<C>(region, provider, end);
        if done && huge {
            let bytes = ((self.committed - from) as usize) << PAGE_SHIFT;
            let bytes = align_down(bytes, provider.page_size());
            if bytes > 0 {
                // SAFETY: committed just now; all marks are machine pages, but for the
                // last of a region.
                unsafe { provider.advise_huge(region.page(from), bytes) };
            }
        }
        done
    }

    fn commit_exactly<C: Config>(
        &mut self,
        region: &Region,
        provider: &C::Pages,
        end: u32,
    ) -> bool {
        let machine_page = provider.page_size();
        let whole = (end as usize).next_multiple_of(machine_page >> PAGE_SHIFT);
        let end = whole.min(region.pages as usize) as u32;
        // The tables first, which stay where the pages are refused: they serve the next
        // attempt. The other way round pages would have to be given back under the lock,
        // and with contents that are no longer known.
        if end > self.tables {
            let (more, step) = if C::LAZY_PAGES { (end / 2, TABLES_STEP) } else { (0, 1) };
            let ahead = end.saturating_add(more).checked_next_multiple_of(step).unwrap_or(end);
            let done = self.commit_tables(region, provider, ahead.min(region.pages))
                || self.commit_tables(region, provider, end);
            if !done {
                return false;
            }
        }
        let (start, bytes) =
            range(region, region.base, PAGE_SIZE, self.committed, end, machine_page);
        // SAFETY: inside the reservation, in machine pages.
        if unsafe { provider.commit(start, bytes) }.is_err() {
            return false;
        }
        self.committed = end;
        true
    }

    /// Commits the tables of the pages up to `end`.
    fn commit_tables<P: PageProvider>(&mut self, region: &Region, provider: &P, end: u32) -> bool {
        let tables = &region.tables;
        let parts = [
            (tables.classes.cast(), 1),
            (tables.tags.cast(), 4),
            (tables.descriptors, DESCRIPTOR_BYTES),
        ];
        let from = self.tables;
        let committed = parts.into_iter().all(|(table, unit)| {
            let (start, bytes) = range(region, table, unit, from, end, provider.page_size());
            // SAFETY: inside the reservation, in machine pages.
            unsafe { provider.commit(start, bytes) }.is_ok()
        });
        if committed && self.fresh_is_dirty {
            let (from, count) = (from as usize, (end - from) as usize);
            // SAFETY: committed just now; G1: the tables start as zero.
            unsafe {
                tables.classes.cast::<u8>().add(from).write_bytes(0, count);
                tables.tags.add(from).cast::<u8>().write_bytes(0, count * 4);
            }
        }
        if committed {
            self.tables = end;
        }
        committed
    }
}

/// Where the entries of pages `from` to before `end` lie in a table with `unit`
/// bytes a page, and how many bytes they are, in machine pages.
fn range(
    region: &Region,
    table: NonNull<u8>,
    unit: usize,
    from: u32,
    end: u32,
    machine_page: usize,
) -> (NonNull<u8>, usize) {
    let reserved = region.reservation.start;
    // Rounded outwards: the ends are shared with other tables, and committing
    // twice is allowed. Offsets, because an address may wrap at the top of the
    // address space.
    let offset = table.addr().get() - reserved.addr().get();
    let first = align_down(offset + from as usize * unit, machine_page);
    let last = (offset + end as usize * unit).next_multiple_of(machine_page);
    // SAFETY: tables and pages lie inside the reservation, whose ends are machine
    // pages.
    (unsafe { reserved.add(first) }, last - first)
}

/// Pages to commit at a time, half of what a region has within the limits.
fn commit_step(limits: &Limits, committed: u32, huge: bool) -> u32 {
    let pages = |bytes: usize| PageCount::covering(bytes).map_or(u32::MAX, PageCount::get);
    let least = pages(limits.commit_min).max(1);
    let step = (committed / 2).clamp(least, pages(limits.commit_max).max(least));
    if huge { step.checked_next_multiple_of(HUGE).unwrap_or(step) } else { step }
}
