//! How a heap gets more regions: from its provider, or from its user.
//!
//! Locks: `growth`, held throughout; `set` under it, to enter the region. The
//! provider's `reserve` and `release` are called under `growth` alone.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::directory::Entry;
use super::layout::bytes_for;
use super::nodes::{known, nodes};
use super::region::{Origin, Region};
use super::runs::Search;
use super::set::Regions;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::OutOfMemory;
use crate::base::limits::HugePages;
use crate::base::sync::Held;
use crate::base::units::{PAGE_SIZE, PageCount, align_down, align_up};
use crate::provider::{Capabilities, Node, PageProvider, ProviderError, Reservation};

/// So much of a region is in small pages where nobody has said what is wanted
/// and the machine gives everybody huge ones: those of a small heap are mostly
/// empty, those of a large one are not.
const WITHOUT_HUGE_PAGES: usize = 128 << 20;

/// Proof that the lock of growth is held.
pub(super) type Growing<'a, C> = Held<'a, (), <C as Config>::Env>;

impl<C: Config> Regions<C> {
    /// Whether there can be a region that has room for a block of that layout.
    #[cold]
    pub(crate) fn can_hold(&self, provider: &C::Pages, layout: Layout) -> bool {
        let align = layout.align().div_ceil(PAGE_SIZE);
        PageCount::covering(layout.size()).zip(u32::try_from(align).ok()).is_some_and(
            |(pages, align)| bytes_for(pages.get(), align, provider.page_size()).is_some(),
        )
    }

    /// Reserves one more region of a node, in which a run of `pages` at a multiple of
    /// `align` pages fits.
    #[cold]
    pub(super) fn grow(
        &self,
        growing: &Growing<'_, C>,
        provider: &C::Pages,
        node: Node,
        pages: PageCount,
        align: u32,
    ) -> Result<(), OutOfMemory> {
        let needed = bytes_for(pages.get(), align, provider.page_size());
        let needed = needed.ok_or(OutOfMemory)?;
        // Before anything is reserved that might have to be given back.
        self.directory.claim().ok_or(OutOfMemory)?;
        let suggested = provider.suggest(needed, self.reserved_on(node)).max(needed);
        let mut bytes = align_up(suggested, provider.page_size()).unwrap_or(needed);
        let reservation = loop {
            match reserve::<C>(provider, node, bytes) {
                Ok(reservation) => break reservation,
                Err(_) if bytes == needed => return Err(OutOfMemory),
                Err(_) => {
                    bytes = (bytes / 2).next_multiple_of(provider.page_size()).max(needed);
                }
            }
        };
        // SAFETY: the provider's, fresh.
        let entered = unsafe { self.enter(growing, provider, reservation, Origin::Provider, node) };
        if entered.is_err() {
            // SAFETY: from `reserve`, unused.
            unsafe { hand_back(provider, reservation) };
        }
        entered
    }

    /// Adds memory of the user's as a region: readable, writable, with any
    /// contents, and the heap's for ever.
    ///
    /// # Safety
    ///
    /// Caller: as for [`Heap::add_region`](crate::Heap::add_region).
    pub(crate) unsafe fn add(
        &self,
        provider: &C::Pages,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), OutOfMemory> {
        let skip = start.addr().get().wrapping_neg() & (PAGE_SIZE - 1);
        let bytes = bytes.checked_sub(skip).ok_or(OutOfMemory)? & !(PAGE_SIZE - 1);
        if bytes == 0 {
            return Err(OutOfMemory);
        }
        // SAFETY: inside the caller's memory.
        let start = unsafe { start.add(skip) };
        let node = known::<C>(provider, provider.node(start.as_ptr()));
        let growing = self.growth.lock();
        let reservation = Reservation { start, bytes };
        // SAFETY: by the contract ours alone, and usable.
        unsafe { self.enter(&growing, provider, reservation, Origin::User, node) }
    }

    /// Makes a region of a reservation and enters it. On failure the
    /// reservation is as it was, and the caller's.
    ///
    /// # Safety
    ///
    /// Caller: as for [`Region::create`].
    unsafe fn enter(
        &self,
        growing: &Growing<'_, C>,
        provider: &C::Pages,
        reservation: Reservation,
        origin: Origin,
        node: Node,
    ) -> Result<(), OutOfMemory> {
        let entry = self.directory.claim().ok_or(OutOfMemory)?;
        // SAFETY: by the contract.
        let region = unsafe { Region::create(reservation, provider, origin, node) };
        let region = region.ok_or(OutOfMemory)?;
        // SAFETY: just created, and nobody else has it.
        let region = unsafe { region.as_ref() };
        refuse_huge::<C>(provider, region);
        self.enter_empty(growing, provider, entry, region);
        Ok(())
    }

    /// Enters a region without runs, which nobody else has.
    pub(super) fn enter_empty(
        &self,
        growing: &Growing<'_, C>,
        provider: &C::Pages,
        entry: &Entry,
        region: &Region,
    ) {
        {
            let _set = self.set.lock();
            // SAFETY: the lock is held, and this is the one reference.
            let state = unsafe { region.state() };
            state.empty_since = C::Env::now_ms();
            self.directory.set(entry, Some((region, state.marks().committed)));
        }
        self.extend_directory(growing, provider);
    }

    /// Bytes that are reserved on a node.
    fn reserved_on(&self, node: Node) -> usize {
        let mut bytes = 0;
        self.find_region(|region| {
            if Self::serves(region, Some(node)) {
                bytes += region.reservation.bytes;
            }
            None::<()>
        });
        bytes
    }

    /// Sees to it that there is an entry for the region after this one, while
    /// there are pages to be had. Without one growth ends, and nothing else.
    fn extend_directory(&self, _growing: &Growing<'_, C>, provider: &C::Pages) {
        if self.directory.claim().is_none()
            && let Ok((_, run)) =
                self.take_present(provider, None, PageCount(1), 1, 0, Search::Quick)
        {
            // SAFETY: the page is ours, for ever from now on.
            unsafe { self.directory.extend(run.start) };
        }
    }
}

/// Asks for a piece of a node's memory, where there is more than one. What is not as
/// large as asked for, or not in whole pages, counts as refused: where too little is
/// handed out each time, a heap would ask without end.
fn reserve<C: Config>(
    provider: &C::Pages,
    node: Node,
    bytes: usize,
) -> Result<Reservation, ProviderError> {
    let reservation = if nodes::<C>(provider) == 1 {
        provider.reserve(bytes)?
    } else {
        provider.reserve_on(node, bytes)?
    };
    let parts = [reservation.start.addr().get(), reservation.bytes];
    let is_whole = parts.into_iter().all(|part| part.is_multiple_of(provider.page_size()));
    if is_whole && reservation.bytes >= bytes {
        return Ok(reservation);
    }
    // SAFETY: as it came from `reserve`, unused.
    unsafe { hand_back(provider, reservation) };
    Err(ProviderError)
}

/// Gives back what was never used, where the provider takes it.
///
/// # Safety
///
/// Caller: the reservation is the provider's, unused, and forgotten from now on.
unsafe fn hand_back<P: PageProvider>(provider: &P, reservation: Reservation) {
    if provider.capabilities().contains(Capabilities::RELEASE) {
        // A failure leaves nothing to do.
        // SAFETY: by the contract.
        let _ = unsafe { provider.release(reservation) };
    }
}

/// Tells the provider where in a new region huge pages are not wanted.
fn refuse_huge<C: Config>(provider: &C::Pages, region: &Region) {
    if !region.capabilities.contains(Capabilities::HUGE) {
        return;
    }
    let Reservation { start, bytes } = region.reservation;
    let (start, bytes) = match C::limits().huge_pages {
        HugePages::Refused => (start, bytes),
        HugePages::AsTheMachine => {
            (region.base, PageCount(region.pages).bytes().min(WITHOUT_HUGE_PAGES))
        }
        HugePages::Wanted => return,
    };
    let bytes = align_down(bytes, provider.page_size());
    if bytes > 0 {
        // SAFETY: inside the reservation, in machine pages: page 0 starts at one.
        unsafe { provider.refuse_huge(start, bytes) };
    }
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
