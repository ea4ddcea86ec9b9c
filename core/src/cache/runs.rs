//! Runs of pages, cached as small objects are: a sheaf for each class of runs.
//!
//! A program that takes and frees buffers would pay two passes through the
//! regions' lock for each, and find its data in pages without memory behind
//! them whenever the run lies elsewhere than the last one. So the second free
//! of a class sets a sheaf for one run up; from then on frees and allocations
//! of the class hit. A free that finds it full puts one for one more run in its
//! place, up to [`MOST`]. What sheaves hold at most counts against a budget when
//! they are set up, because hits do not count.
//!
//! The budget is one of memory, not of length: some programs fill their
//! buffers, others touch a few pages of each. So whenever a sheaf is enlarged
//! the provider is asked how much of the run is resident, and an estimate
//! follows the answers, a fourth at a time.
//!
//! ```text
//! alloc  pop ┬ hit: done
//!            └ miss: one run from the regions
//! free   push ┬ hit: done
//!             └ miss: second free, budget ─ swap a larger sheaf in ─ else to the regions
//! ```
//!
//! Runs are cached for a tick or two: at every tick the CPUs are asked to give
//! theirs back at their next miss, and those in use fill up again at the cost
//! of two misses a class. So hits need not be counted either.
//!
//! K1: a run in a sheaf of class `c` is used to its region, starts there, is at
//! least as long as `c`, and its first page's class byte is `c`.

use core::ptr::NonNull;

use super::frontend::FrontEnd;
use super::lower::Lower;
use super::sheaf::{Sheaf, Top};
use super::slot::Slot;
use super::whole::{Cache, Place};
use crate::base::class::{Class, RUN_CLASSES};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::sync::Count;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::violation::Violation;
use crate::provider::PageProvider;
use crate::region::{Contents, Regions};

/// All of a run, where parts of it are counted.
pub(super) const FILLED: u32 = 1024;

/// Runs in a sheaf at most: as many as the smallest block has words for.
const MOST: usize = 6;

static_assertions::const_assert!(RUN_CLASSES <= u32::BITS as usize);

impl<C: Config> Cache<C> {
    /// Counts a miss, and takes part in what all CPUs were asked to do.
    pub(crate) fn note_run_miss(&self, lower: &Lower<C>) {
        if let Place::Slot(slot) = self.place(lower) {
            slot.refills.count();
        }
    }

    /// Caches a run that is being freed; `false` when it should go back to its
    /// region. The run and its class are as K1 says.
    pub(crate) fn keep_run(&self, lower: &Lower<C>, class: Class, run: NonNull<u8>) -> bool {
        if C::NODES > 1 && Self::is_foreign(lower, run) {
            return false;
        }
        let Place::Slot(slot) = self.place(lower) else { return false };
        let top = slot.tops().get(class);
        if !top.is_full() {
            // There was no room before the caller was moved.
            // SAFETY: the caller gave the run up; K1.
            return unsafe { lower.front.push(class, run.as_ptr()) };
        }
        slot.overflows.count();
        let again = slot.recent.freed.fetch_or_in::<C::Env>(class.run_bit(), Relaxed)
            & class.run_bit()
            != 0;
        again && self.enlarge(lower, slot, class, run)
    }

    /// Puts a sheaf for one more run in the place of a full one, or of none.
    fn enlarge(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
        run: NonNull<u8>,
    ) -> bool {
        let top = slot.tops().observe(class);
        let held = top.len();
        if held >= MOST || !self.has_room(lower, class) {
            return false;
        }
        self.note_filled(lower, class, run);
        let Some(mut sheaf) = self.pool.run_sheaf(&lower.regions, &lower.provider, held + 1) else {
            return false;
        };
        sheaf.push(run);
        // Counted before the sheaf is in place, from where anybody may take it.
        let room = (held + 1) * class.size();
        self.run_room.fetch_add_in::<C::Env>(room, Relaxed);
        let new = sheaf.into_top();
        // SAFETY: the new sheaf is ours.
        let done = unsafe { lower.front.swap(class, top, new) };
        if !done {
            // SAFETY: the swap failed, so the new sheaf is still ours; the run
            // is taken out of it again.
            let mut sheaf = unsafe { Sheaf::from_top(new) };
            sheaf.clear();
            self.pool.give(sheaf);
            self.run_room.fetch_sub_in::<C::Env>(room, Relaxed);
            return false;
        }
        if !top.is_sentinel() {
            // Only now: what is in a sheaf may change while it is in its place.
            self.run_room.fetch_sub_in::<C::Env>((top.len() + top.room()) * class.size(), Relaxed);
            // SAFETY: `swap` made the old sheaf ours.
            let mut spent = unsafe { Sheaf::from_top(top) };
            while let Some(run) = spent.pop() {
                // SAFETY: ours, out of a sheaf of this class (K1).
                if !unsafe { lower.front.push(class, run.as_ptr()) } {
                    Self::give_run(lower, run);
                }
            }
            self.pool.give(spent);
        }
        true
    }

    /// Whether there may be room for one more run of a class. What counts is
    /// memory: an estimate of what cached runs have behind them is kept below
    /// a fourth of the heap, what they are long below three fourths of it, or
    /// as little as each slot may have in any case. Over all slots, because
    /// who counts may be moved to another before it swaps.
    fn has_room(&self, lower: &Lower<C>, class: Class) -> bool {
        if self.registry.is_short() {
            return false;
        }
        let limits = C::limits();
        // Saturating: where addresses have 32 bits, very many slots that enlarge at once may
        // count more than fits.
        let length = self.run_room.load(Relaxed).saturating_add(class.size());
        // In an order that does not overflow there.
        let memory = length / FILLED as usize * self.filled.load(Relaxed) as usize;
        let least = limits.runs_min.saturating_mul(self.registry.active() as usize);
        let share = (lower.regions.extent() / 4).clamp(least, limits.runs_max.max(least));
        memory <= share && length / 3 <= share
    }

    /// Looks how much of a run that is about to be cached has memory behind it.
    fn note_filled(&self, lower: &Lower<C>, class: Class, run: NonNull<u8>) {
        let page = lower.provider.page_size();
        if !(run.addr().get() | class.size()).is_multiple_of(page) {
            return;
        }
        // SAFETY: a used run, at least as long as its class, in whole pages.
        let resident = unsafe { lower.provider.resident(run, class.size()) };
        let sample = resident.min(class.size()) / (class.size() / FILLED as usize);
        let before = self.filled.load(Relaxed);
        // Relaxed: an estimate; a sample that is lost is no loss.
        self.filled.store((3 * before + sample as u32) / 4, Relaxed);
    }

    /// Asks all CPUs to give their runs back, each at its next miss.
    pub(crate) fn age_runs(&self) {
        self.registry.age.fetch_add_in::<C::Env>(1, Relaxed);
    }

    /// Gives the runs of the caller's slot back when they are old, and what it
    /// has of cold classes.
    #[inline]
    pub(super) fn flush_old(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        let age = self.registry.age.load(Relaxed);
        if slot.recent.age.load(Relaxed) != age {
            slot.recent.age.store(age, Relaxed);
            self.flush_now(lower, slot);
        }
    }

    #[cold]
    fn flush_now(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        self.flush_runs(lower, slot);
        self.cool(lower, slot);
    }

    fn flush_runs(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        slot.recent.freed.store(0, Relaxed);
        for class in Class::runs() {
            let top = slot.tops().get(class);
            // SAFETY: no sheaf is put in.
            if !top.is_sentinel() && unsafe { lower.front.swap(class, top, Top::sentinel()) } {
                // SAFETY: `swap` made the sheaf ours.
                unsafe { self.give_runs(lower, class, top) };
            }
        }
    }

    /// Gives a slot's runs back.
    ///
    /// # Safety
    ///
    /// Caller: as for [`drain_slot`](Self::drain_slot).
    pub(super) unsafe fn drain_runs(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        slot.recent.freed.store(0, Relaxed);
        for class in Class::runs() {
            // SAFETY: by the contract.
            let top = unsafe { slot.tops().take(class) };
            if !top.is_sentinel() {
                // SAFETY: taken out of its place.
                unsafe { self.give_runs(lower, class, top) };
            }
        }
    }

    /// Gives the runs of a slot's sheaf back.
    ///
    /// # Safety
    ///
    /// Caller: owns the sheaf of the top, which is not the sentinel.
    unsafe fn give_runs(&self, lower: &Lower<C>, class: Class, top: Top) {
        self.run_room.fetch_sub_in::<C::Env>((top.len() + top.room()) * class.size(), Relaxed);
        // SAFETY: by the contract.
        let mut sheaf = unsafe { Sheaf::from_top(top) };
        while let Some(run) = sheaf.pop() {
            Self::give_run(lower, run);
        }
        self.pool.give(sheaf);
    }

    fn give_run(lower: &Lower<C>, run: NonNull<u8>) {
        if lower.regions.give(run, Contents::Dirty, C::Env::now_ms()).is_err() {
            C::Env::fatal(lower.regions.fault_at(FaultKind::DoubleFree, run.as_ptr()));
        }
    }
}

impl<E: Environment> Slot<E> {
    /// Shows each run in the slot's sheaves, with its class.
    fn each_run(&self, mut show: impl FnMut(Class, NonNull<u8>)) {
        for class in Class::runs() {
            self.tops().observe(class).each(|run| show(class, run));
        }
    }

    /// Bytes in cached runs.
    pub(crate) fn parked_bytes<C: Config<Env = E>>(&self, regions: &Regions<C>) -> usize {
        let mut bytes = 0;
        self.each_run(|_, run| {
            let at = regions.locate(run.as_ptr());
            bytes += at.and_then(|at| at.run()).map_or(0, |pages| pages.bytes());
        });
        bytes
    }
}

/// Cached runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ParkedRuns {
    pub runs: usize,
    pub bytes: usize,
}

impl<C: Config> Cache<C> {
    /// Bytes in cached runs, as far as a glance tells.
    pub(crate) fn parked_bytes(&self, regions: &Regions<C>) -> usize {
        self.registry.slots().map(|slot| slot.parked_bytes(regions)).sum()
    }

    /// Verifies C1 and K1 of every cached run, at rest.
    pub(crate) fn check_runs(&self, regions: &Regions<C>) -> Result<ParkedRuns, Violation> {
        let mut seen = ParkedRuns::default();
        for class in Class::runs() {
            let count = self.check_class(class, |run| {
                let at = regions.locate(run.as_ptr()).filter(|at| at.class() == class);
                let pages = at.and_then(|at| at.run()).filter(|pages| *pages >= class.pages());
                seen.bytes += pages.map_or(0, |pages| pages.bytes());
                let found = "a cached run that is no run of its class";
                Violation::unless(pages.is_some(), "K1", found, run.addr().get())
            })?;
            seen.runs += count.objects;
        }
        Ok(seen)
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
