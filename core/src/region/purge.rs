//! Giving memory back: purge of free runs, release of empty regions.
//!
//! A run to be purged is first *taken*, so nobody can be given it meanwhile,
//! and given back after the provider's call, which runs under no lock (P1: a
//! claimed run is never purged).

use core::ptr::NonNull;

use super::region::Region;
use super::set::{Contents, Regions};
use crate::base::config::Config;
use crate::base::limits::Limits;
use crate::base::units::{PAGE_SIZE, PageCount};
use crate::provider::{Capabilities, PageProvider};

/// Which memory to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// What has been idle for the configured delays.
    Idle,
    /// All that is free.
    All,
}

impl<C: Config> Regions<C> {
    /// Gives idle memory back. Returns the bytes given.
    pub(crate) fn give_back(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        self.purge(provider, now, urgency) + self.release(provider, now, urgency)
    }

    fn purge(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        let capabilities = provider.capabilities();
        if !capabilities.contains(Capabilities::PURGE) {
            return 0;
        }
        let machine_page = provider.page_size();
        let smallest = (machine_page / PAGE_SIZE) as u32;
        let limits = C::limits();
        let (min_len, delay) = match urgency {
            Urgency::Idle if limits.purge_delay_ms == Limits::NEVER => return 0,
            Urgency::Idle => (limits.purge_min_pages.max(smallest), limits.purge_delay_ms),
            Urgency::All => (smallest, 0),
        };
        let mut given = 0;
        // Each run is looked at once: what comes back is no longer resident.
        while let Some((start, pages)) = self.take_resident(min_len, now, delay) {
            let bytes = pages.bytes();
            let skip = start.addr().get().wrapping_neg() & (machine_page - 1);
            let inner = bytes.saturating_sub(skip) & !(machine_page - 1);
            // SAFETY: P1, the run is ours; `inner` lies inside it and is
            // whole machine pages.
            let purged = inner == 0 || unsafe { provider.purge(start.add(skip), inner) }.is_ok();
            let contents = if purged {
                given += inner;
                Contents::after_purge(capabilities, inner == bytes)
            } else {
                // Not again before it has been used: a provider that refuses
                // once would be asked for ever.
                Contents::Purged
            };
            let given_back = self.give(start, contents, now);
            debug_assert!(given_back.is_ok(), "P1: a taken run is a used run");
        }
        given
    }

    fn take_resident(
        &self,
        min_len: u32,
        now: u32,
        delay: u32,
    ) -> Option<(NonNull<u8>, PageCount)> {
        self.find_region(|region| {
            if !region.capabilities.contains(Capabilities::PURGE) {
                return None;
            }
            // SAFETY: `find_region` holds the lock; the one reference.
            let state = unsafe { region.state() };
            let (start, len) = state.take_resident(min_len, now, delay)?;
            Some((region.page(start), PageCount(len)))
        })
    }

    fn release(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        let delay = if urgency == Urgency::All { 0 } else { C::limits().release_delay_ms };
        if delay == Limits::NEVER {
            return 0;
        }
        let growing = self.growth.lock();
        let mut given = 0;
        // The first region stays: its range is tested inline.
        while let Some((entry, region)) =
            self.remove_region(&growing, |region| is_idle(region, now, delay))
        {
            // SAFETY: nobody else knows the region any more (D1: no block in
            // it is live), and it was alive in the set.
            let reservation = unsafe { region.as_ref() }.reservation;
            // SAFETY: from `reserve`, all of its runs are free.
            if unsafe { provider.release(reservation) }.is_err() {
                self.put_back(&growing, entry, region);
                break;
            }
            given += reservation.bytes;
        }
        given
    }
}

fn is_idle(region: &Region, now: u32, delay: u32) -> bool {
    // SAFETY: the caller holds the lock; the one reference.
    let state = unsafe { region.state() };
    region.capabilities.contains(Capabilities::RELEASE)
        && state.used() == 0
        && now.wrapping_sub(state.empty_since) >= delay
}
