//! A page of a region, found from a pointer.

use core::ops::Range;
use core::ptr::NonNull;

use super::region::Region;
use super::set::Run;
use crate::base::class::Class;
use crate::base::fault::Place;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::units::PageCount;
use crate::provider::{Capabilities, Node};

/// A page of a region.
#[derive(Clone, Copy)]
pub(crate) struct Located<'a> {
    pub(super) region: &'a Region,
    pub(super) page: u32,
}

impl Located<'_> {
    /// The class of the page's slab, or of the run that starts here;
    /// [`Class::LARGE`] elsewhere.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        // Relaxed: the page's owner wrote it before it handed anything out.
        Class::from_index(self.region.tables.class_byte(self.page).load(Relaxed))
    }

    /// Marks the run that starts here, the caller's, with a class: all pages
    /// of a slab, the first one of another run.
    pub(crate) fn set_class(&self, pages: PageCount, class: Class) {
        let marked = if class.is_small() { pages.get() } else { 1 };
        self.mark(marked, class);
    }

    /// Takes the class away again, [`Class::LARGE`] being none.
    pub(crate) fn clear_class(&self, pages: PageCount) {
        let marked = if self.class().is_small() { pages.get() } else { 1 };
        self.mark(marked, Class::LARGE);
    }

    fn mark(&self, pages: u32, class: Class) {
        for page in self.page..self.page + pages {
            // Relaxed: the run is ours alone; blocks are handed out later.
            self.region.tables.class_byte(page).store(class.byte(), Relaxed);
        }
    }

    /// Length of the used run that starts at this page, if one does.
    #[inline]
    pub(crate) fn run(&self) -> Option<PageCount> {
        self.region.tables.used_run_at(self.page).map(PageCount)
    }

    /// Pages of the run that was just taken here, counted from its first, outside of
    /// which it is zero.
    pub(crate) fn dirty_pages(&self, run: &Run) -> Range<u32> {
        let dirty = run.stamp.dirty.within(self.page, run.pages.get());
        // Where none is, none is below the first.
        dirty.start.saturating_sub(self.page)..dirty.end.saturating_sub(self.page)
    }

    /// Whether the page is in a free run, or was never in one. Walks back to
    /// the start of the run: for reports.
    pub(crate) fn is_in_free_run(&self) -> bool {
        let tables = &self.region.tables;
        let used = (0..=self.page).rev().find_map(|page| {
            tables.used_run_at(page).map(|len| page + len).or(tables.free_run_at(page).map(|_| 0))
        });
        used.is_none_or(|end| end <= self.page)
    }

    /// The start of the used run that the page is in. Walks back to it, without
    /// a lock: whoever asks has a block there, or reports.
    pub(crate) fn used_run_around(&self) -> Option<Self> {
        let tables = &self.region.tables;
        let (page, len) = (0..=self.page).rev().find_map(|page| {
            let free = || tables.free_run_at(page).map(|_| (page, 0));
            tables.used_run_at(page).map(|len| (page, len)).or_else(free)
        })?;
        (self.page - page < len).then_some(Self { region: self.region, page })
    }

    /// What the page belongs to, for reports.
    pub(crate) fn place(&self) -> Place {
        let class = self.class();
        if class.is_small() {
            return Place::Slab(class.size());
        }
        let run = self.used_run_around().and_then(|start| start.run());
        run.map_or(Place::Free, |run| Place::Run(run.bytes()))
    }

    /// The node of the page (NU1).
    pub(crate) fn node(&self) -> Node {
        self.region.node
    }

    /// First byte of the page.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.region.page(self.page)
    }

    /// The page's descriptor.
    pub(crate) fn descriptor(&self) -> NonNull<u8> {
        self.region.tables.descriptor(self.page)
    }

    /// What the provider can do with the page.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.region.capabilities
    }

    /// The descriptors of the aligned run of `pages` (a power of two) that
    /// this page is in.
    #[inline]
    pub(crate) fn aligned_descriptors(&self, pages: u32) -> NonNull<u8> {
        let absolute = self.region.phase().wrapping_add(self.page as usize);
        let into = (absolute & (pages as usize - 1)) as u32;
        self.region.tables.descriptor(self.page.saturating_sub(into))
    }
}
