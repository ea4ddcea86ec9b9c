//! Giving memory back: purge of free runs, release of empty regions.
//!
//! A run to be purged is first *taken*, so nobody can be given it meanwhile,
//! and given back after the provider's call, which runs under no lock (P1: a
//! claimed run is never purged). Of a free run only what may be resident is
//! taken, so that others can use the rest; of many runs at once, since to find the
//! next one from the start again would take the square of their number. P3: who has anything taken for a purge
//! has passed the gate, which is closed before a fork: a child would lose it.

use core::ops::Range;
use core::ptr::NonNull;

use super::commit::HUGE;
use super::directory::Entry;
use super::located::Located;
use super::region::{Region, State};
use super::runs::{Choice, Stamp};
use super::set::{Contents, Regions};
use super::span::Span;
use crate::base::config::Config;
use crate::base::env::elapsed_ms;
use crate::base::limits::{HugePages, Limits};
use crate::base::units::{PAGE_SHIFT, PAGE_SIZE, PageCount};
use crate::provider::{Capabilities, PageProvider};

/// Free runs that a look goes over, at most: a cache miss each.
const LOOKS: u32 = 8192;

/// Parts that a look purges, at most: a system call each.
const CALLS: u32 = 1024;

/// Runs shorter than [`Limits::purge_min_pages`] are purged, too, down to this part of
/// it, after as many times the delay as they are shorter: a call costs the same and
/// brings less, and short runs are taken again sooner.
const SHORTEST: u32 = 4;

/// Parts taken under one lock.
const TOGETHER: usize = 32;

/// Which memory to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// What has been idle for the configured delays.
    Idle,
    /// About so many bytes of what has been idle for `rested_ms`; no region.
    Excess { bytes: usize, rested_ms: u32 },
    /// All that is free.
    All,
}

/// What regions hold, in bytes, as far as every look asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionUsage {
    /// In used runs.
    pub used: usize,
    /// Free, and maybe with memory behind.
    pub resident_free: usize,
}

/// What is to be purged.
struct Wanted {
    /// Pages of a free run at least that is purged after `delay` ...
    min_len: u32,
    /// ... and of those at least that rest the longer the shorter they are.
    shortest: u32,
    /// Pages that go together: a machine page, or a huge one.
    unit: u32,
    now: u32,
    delay: u32,
    /// Resident pages that stay.
    keep: usize,
    /// Whether to look as well for what was left behind in units that
    /// were only partly free.
    unseen: bool,
}

/// What is left to be done at a time.
struct Budget {
    looks: u32,
    calls: u32,
}

impl Budget {
    fn new(urgency: Urgency) -> Self {
        match urgency {
            Urgency::All => Self { looks: u32::MAX, calls: u32::MAX },
            Urgency::Idle | Urgency::Excess { .. } => Self { looks: LOOKS, calls: CALLS },
        }
    }
}

/// A part of a free run, taken out to be purged.
#[derive(Clone, Copy)]
struct Part {
    start: NonNull<u8>,
    pages: PageCount,
    /// The units in it, at least one.
    inner: NonNull<u8>,
    inner_pages: PageCount,
}

impl Wanted {
    /// `None` where nothing ever is.
    fn new<C: Config>(
        can: Capabilities,
        machine_page: usize,
        now: u32,
        urgency: Urgency,
        resident: impl FnOnce() -> usize,
    ) -> Option<Self> {
        let limits = C::limits();
        let smallest = (machine_page / PAGE_SIZE) as u32;
        let huge = limits.huge_pages == HugePages::Wanted && can.contains(Capabilities::HUGE);
        match urgency {
            Urgency::Idle if limits.purge_delay_ms == Limits::NEVER => None,
            Urgency::Idle | Urgency::Excess { .. } => {
                let unit = if huge { HUGE.max(smallest) } else { smallest };
                let min_len = limits.purge_min_pages.max(unit);
                let keep = limits.resident_min >> PAGE_SHIFT;
                let (delay, keep) = match urgency {
                    Urgency::Excess { bytes, rested_ms } => {
                        let most = bytes.div_ceil(PAGE_SIZE);
                        (rested_ms, keep.max(resident().saturating_sub(most)))
                    }
                    _ => (limits.purge_delay_ms, keep),
                };
                let shortest = (min_len / SHORTEST).max(unit);
                Some(Self { min_len, shortest, unit, now, delay, keep, unseen: false })
            }
            Urgency::All => {
                let unseen = huge && smallest == 1 && can.contains(Capabilities::PURGE_ZEROES);
                let (min_len, shortest, unit) = (smallest, smallest, smallest);
                Some(Self { min_len, shortest, unit, now, delay: 0, keep: 0, unseen })
            }
        }
    }

    /// The part of a free run to purge, at most `spare` pages: where it is
    /// resident, with whole units. What of a unit lies outside of the run is in
    /// use and cannot go; it is forgotten, and found again when the rest of its
    /// unit becomes free.
    fn part(&self, phase: usize, spare: u32, run: Span, stamp: Stamp) -> Option<Span> {
        let shorter = self.min_len.div_ceil(run.len());
        if elapsed_ms(stamp.since, self.now) < self.delay.saturating_mul(shorter) {
            return None;
        }
        // What of a unit was left behind is still dirty.
        let unseen = if self.unseen { stamp.dirty } else { Span::NONE };
        let resident = stamp.resident.hull(unseen);
        if resident.is_empty() {
            return None;
        }
        let part = resident.widened(self.unit, phase).within(run.start, run.len());
        let part = if part.len() <= spare {
            part
        } else {
            let last = part.last(spare);
            Span { start: last.narrowed(self.unit, phase).start.max(last.start), ..last }
        };
        (!part.narrowed(self.unit, phase).is_empty()).then_some(part)
    }
}

impl<C: Config> Regions<C> {
    /// Gives idle memory back. Returns the bytes given.
    pub(crate) fn give_back(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        let purged = self.purge(provider, now, urgency);
        match urgency {
            Urgency::Excess { .. } => purged,
            Urgency::Idle | Urgency::All => purged + self.release(provider, now, urgency),
        }
    }

    fn purge(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        let capabilities = provider.capabilities();
        if !capabilities.contains(Capabilities::PURGE) {
            return 0;
        }
        let machine_page = provider.page_size();
        let resident = || self.usage().resident_free >> PAGE_SHIFT;
        let wanted = Wanted::new::<C>(capabilities, machine_page, now, urgency, resident);
        let Some(wanted) = wanted else { return 0 };
        let (mut given, mut budget) = (0, Budget::new(urgency));
        let (mut lens, shorter) = (wanted.min_len..u32::MAX, wanted.shortest..wanted.min_len);
        // Each page is looked at once: what comes back is no longer resident.
        loop {
            let _passing = self.purging.pass();
            let (mut is_refused, mut parts) = (false, [None; TOGETHER]);
            self.take_idle(&wanted, &lens, &mut budget, &mut parts);
            for part in parts.into_iter().flatten() {
                // SAFETY: P1, the part is ours; `inner` lies inside it and is
                // whole machine pages.
                let purged =
                    unsafe { provider.purge(part.inner, part.inner_pages.bytes()) }.is_ok();
                let contents = if purged {
                    given += part.inner_pages.bytes();
                    Contents::after_purge(capabilities, part.inner_pages == part.pages)
                } else {
                    // Not again before it has been used: a provider that refuses
                    // once would be asked for ever.
                    is_refused = true;
                    Contents::Purged
                };
                let given_back = self.give(part.start, contents, now);
                debug_assert!(given_back.is_ok(), "P1: a taken run is a used run");
            }
            if is_refused && wanted.unseen {
                return given;
            }
            if parts[TOGETHER - 1].is_none() {
                if shorter.is_empty() || lens == shorter {
                    return given;
                }
                lens.clone_from(&shorter);
            }
        }
    }

    /// Gives back at once what is behind pages of a used run that are about to be cut
    /// off. Returns what is in them then.
    ///
    /// # Safety
    ///
    /// Caller: the pages, from the first of these to the end of the run at `at`, and
    /// their contents are its own to give up.
    pub(crate) unsafe fn purge_tail(
        &self,
        provider: &C::Pages,
        at: Located<'_>,
        pages: Range<u32>,
    ) -> Contents {
        let limits = C::limits();
        let (capabilities, machine_page) = (at.capabilities(), provider.page_size());
        let start = at.region.page(at.page + pages.start);
        let bytes = PageCount(pages.end - pages.start).bytes();
        let asked_for = limits.excess_percent != Limits::NEVER
            && limits.purge_delay_ms != Limits::NEVER
            && limits.resident_min == 0
            && limits.huge_pages != HugePages::Wanted;
        let can = capabilities.contains(Capabilities::PURGE)
            && start.addr().get().is_multiple_of(machine_page)
            && bytes.is_multiple_of(machine_page);
        // SAFETY: by the contract: a part of a used run is nobody else's to purge (P1),
        // and committed; whole machine pages.
        if asked_for && can && unsafe { provider.purge(start, bytes) }.is_ok() {
            Contents::after_purge(capabilities, true)
        } else {
            Contents::Dirty
        }
    }

    /// Takes what is to be purged next, as much as there is room for in `parts`.
    fn take_idle(
        &self,
        wanted: &Wanted,
        lens: &Range<u32>,
        budget: &mut Budget,
        parts: &mut [Option<Part>; TOGETHER],
    ) {
        let _set = self.set.lock();
        let mut spare = match wanted.keep {
            0 => u32::MAX,
            keep => {
                // SAFETY: the lock is held; no reference to a state is alive.
                let resident = unsafe { self.sum(|state| state.runs.resident_granules()) };
                u32::try_from(resident.saturating_sub(keep)).unwrap_or(u32::MAX)
            }
        };
        let mut taken = 0;
        for region in self.directory.entries().filter_map(Entry::region) {
            // SAFETY: entered regions live until they are taken out, under
            // this lock.
            let region: &Region = unsafe { region.as_ref() };
            if !region.capabilities.contains(Capabilities::PURGE) {
                continue;
            }
            // SAFETY: the lock is held; the one reference.
            let state = unsafe { region.state() };
            let phase = region.phase();
            state.take_parts(lens, |start, len, stamp| {
                let is_over = budget.looks == 0 || budget.calls == 0;
                if is_over || taken == TOGETHER || spare < lens.start {
                    return Choice::End;
                }
                budget.looks -= 1;
                if stamp.resident.is_empty() && !wanted.unseen {
                    return Choice::NextBin;
                }
                let run = Span { start, end: start + len };
                let Some(part) = wanted.part(phase, spare, run, stamp) else {
                    return Choice::Pass;
                };
                let inner = part.narrowed(wanted.unit, phase);
                parts[taken] = Some(Part {
                    start: region.page(part.start),
                    pages: PageCount(part.len()),
                    inner: region.page(inner.start),
                    inner_pages: PageCount(inner.len()),
                });
                taken += 1;
                budget.calls -= 1;
                spare -= part.len();
                Choice::Take(part)
            });
        }
    }

    /// What is used, and what is free, see there.
    pub(crate) fn usage(&self) -> RegionUsage {
        let _set = self.set.lock();
        // SAFETY: the lock is held; no reference to a state is alive.
        let sum = |of: fn(&State) -> u32| unsafe { self.sum(of) } << PAGE_SHIFT;
        let resident_free = sum(|state| state.runs.resident_granules());
        RegionUsage { used: sum(State::used), resident_free }
    }

    /// Adds up what regions say of their states.
    ///
    /// # Safety
    ///
    /// Caller: holds the lock of the set, and no reference to a state.
    unsafe fn sum(&self, of: impl Fn(&State) -> u32) -> usize {
        let regions = self.directory.entries().filter_map(Entry::region);
        // SAFETY: entered regions live until they are taken out, under the
        // lock that the caller holds; one reference at a time.
        regions.map(|region| of(unsafe { region.as_ref().state() }) as usize).sum()
    }

    fn release(&self, provider: &C::Pages, now: u32, urgency: Urgency) -> usize {
        let delay = if urgency == Urgency::All { 0 } else { C::limits().release_delay_ms };
        if delay == Limits::NEVER {
            return 0;
        }
        let keep = if urgency == Urgency::All { 0 } else { C::limits().resident_min };
        let growing = self.growth.lock();
        let mut given = 0;
        // The first region stays: its range is tested inline.
        while let Some((entry, region)) = self.remove_region(&growing, |region| {
            is_idle(region, now, delay) && (keep == 0 || self.can_spare(region, keep >> PAGE_SHIFT))
        }) {
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

    /// Whether `keep` free pages are left without those of a region. The
    /// caller holds the lock of the set.
    fn can_spare(&self, region: &Region, keep: usize) -> bool {
        let free = |state: &State| state.runs.free_granules();
        // SAFETY: the lock is held; one reference after the other.
        let (all, own) = unsafe { (self.sum(free), free(region.state())) };
        all - own as usize >= keep
    }
}

fn is_idle(region: &Region, now: u32, delay: u32) -> bool {
    // SAFETY: the caller holds the lock; the one reference.
    let state = unsafe { region.state() };
    region.capabilities.contains(Capabilities::RELEASE)
        && state.used() == 0
        && elapsed_ms(state.empty_since, now) >= delay
}
