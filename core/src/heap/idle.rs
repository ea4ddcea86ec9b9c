//! Ticks: what is idle is looked for now and then, and given back.
//!
//! ```text
//! tick, 50 ms  idle CPUs · depots · parked runs · pages and runs free for the delay
//! look, 10 ms  pages and runs free for one look, as far as they are in excess
//! ```
//!
//! Free memory waits before it is purged because most of it is taken again. That
//! costs no more than the program's own peak as long as what is in use and what
//! is free are together no more than was in use at once. What goes beyond that, and a
//! slack, is *excess*: it is purged as soon as it has rested from one look to
//! the next. So a program that frees all and takes it again keeps its memory, and one
//! that goes on with other sizes does not pay for both.

use super::Heap;
use crate::base::config::Config;
use crate::base::env::elapsed_ms;
use crate::base::limits::{HugePages, Limits};
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::provider::{Capabilities, PageProvider};
use crate::region::purge::Urgency;
use crate::slab::idle::Aim;

/// Milliseconds between two looks.
const LOOK_MS: u32 = 10;

/// Milliseconds between two ticks.
const TICK_MS: u32 = 50;

/// The part of the way to what is in use that the peak comes down by at a tick:
/// half in a quarter of a second.
const PEAK_DECAY: usize = 8;

/// Looks that nothing is walked over in, at most, after walks that found little.
const PAUSE_MAX: u32 = 15;

/// What looks remember. Written by who makes the look; two of them at once, after a
/// long one, lose no more than an estimate.
pub(super) struct Looks {
    last_tick: AtomicU32,
    /// Bytes in use at once, lately.
    peak: AtomicUsize,
    /// Looks to leave out, after so many the last time.
    pause: AtomicU32,
    last_pause: AtomicU32,
    /// Bytes that were free when little of it was found worth purging.
    futile: AtomicUsize,
}

impl Looks {
    pub(super) const fn new() -> Self {
        Self {
            last_tick: AtomicU32::new(0),
            peak: AtomicUsize::new(0),
            pause: AtomicU32::new(0),
            last_pause: AtomicU32::new(0),
            futile: AtomicUsize::new(0),
        }
    }

    /// Whether to walk, where `free` bytes are: where little was found not long
    /// ago only if there are more by an eighth.
    fn is_worth_a_walk(&self, free: usize) -> bool {
        let pause = self.pause.load(Relaxed);
        self.pause.store(pause.saturating_sub(1), Relaxed);
        let futile = self.futile.load(Relaxed);
        pause == 0 || free > futile + futile / 8
    }

    /// Notes what a walk has brought.
    fn note(&self, excess: usize, given: usize, free: usize) {
        let little = given < excess / 8;
        let pause = if little { (self.last_pause.load(Relaxed) * 2 + 1).min(PAUSE_MAX) } else { 0 };
        self.last_pause.store(pause, Relaxed);
        self.pause.store(pause, Relaxed);
        self.futile.store(free - given.min(free), Relaxed);
    }
}

impl<C: Config> Heap<C> {
    /// Now and then, when something is freed: gives back what has been idle. There is
    /// no thread for it; a heap nobody uses keeps what it has.
    #[inline]
    pub(super) fn tick(&self, now: u32) {
        if self.lower.regions.tick_is_due(now, LOOK_MS) {
            self.look(now);
        }
    }

    #[cold]
    fn look(&self, now: u32) {
        let (slabs, regions) = (self.lower.slabs.look(), self.lower.regions.usage());
        // What is cached counts as in use.
        let live = regions.used.saturating_sub(slabs.runs) + slabs.in_use;
        let looks = &self.looks;
        let peak = looks.peak.load(Relaxed);
        if elapsed_ms(looks.last_tick.load(Relaxed), now) >= TICK_MS {
            looks.last_tick.store(now, Relaxed);
            looks.peak.store((peak - peak.saturating_sub(live) / PEAK_DECAY).max(live), Relaxed);
            return self.tick_now(now);
        }
        looks.peak.store(peak.max(live), Relaxed);
        self.purge_excess(now, live, regions.resident_free + slabs.free);
    }

    fn tick_now(&self, now: u32) {
        self.cache.registry.end_shortage(now);
        self.cache.drain_idle(&self.lower, now);
        self.cache.trim_depots(&self.lower);
        self.cache.age_runs();
        self.sampler.ask_again();
        self.lower.regions.give_back(&self.lower.provider, now, Urgency::Idle);
        let limits = C::limits();
        if limits.purge_delay_ms != Limits::NEVER && self.may_purge_slabs(&limits) {
            self.purge_slabs(limits.purge_delay_ms, usize::MAX);
        }
    }

    /// Gives back pages of slabs that have not changed for `delay` milliseconds.
    fn purge_slabs(&self, delay: u32, bytes: usize) -> usize {
        // What changed just before a look has rested for no time at its start.
        let looks = u16::try_from(delay.div_ceil(LOOK_MS) + 1).unwrap_or(u16::MAX);
        self.lower.slabs.purge_idle(&self.lower.regions, &self.lower.provider, Aim { looks, bytes })
    }

    /// Whether pages of slabs may go back while memory is not short: not where whole
    /// huge pages go or none, nor where free runs are no more than has to stay.
    fn may_purge_slabs(&self, limits: &Limits) -> bool {
        let keep = limits.resident_min;
        limits.huge_pages != HugePages::Wanted
            && (keep == 0 || self.lower.regions.usage().resident_free >= keep)
    }

    /// Gives back what has rested for a look, as far as more is resident than
    /// the recent peak of use accounts for.
    fn purge_excess(&self, now: u32, live: usize, free: usize) {
        let limits = C::limits();
        let never =
            limits.excess_percent == Limits::NEVER || limits.purge_delay_ms == Limits::NEVER;
        if never || !self.lower.provider.capabilities().contains(Capabilities::PURGE) {
            return;
        }
        let peak = self.looks.peak.load(Relaxed);
        let slack = (peak / 100).saturating_mul(limits.excess_percent as usize);
        let limit = peak.saturating_add(slack.max(limits.excess_min));
        let excess = (live + free).saturating_sub(limit);
        if excess == 0 || !self.looks.is_worth_a_walk(free) {
            return;
        }
        let urgency = Urgency::Excess { bytes: excess, rested_ms: LOOK_MS };
        let mut given = self.lower.regions.give_back(&self.lower.provider, now, urgency);
        if given < excess && self.may_purge_slabs(&limits) {
            given += self.purge_slabs(LOOK_MS, excess - given);
        }
        self.looks.note(excess, given, free);
    }
}

#[cfg(test)]
#[path = "idle_tests.rs"]
mod tests;
