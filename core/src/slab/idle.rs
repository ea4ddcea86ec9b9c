//! Pages of partly used slabs given back.
//!
//! A slab that a few survivors keep alive may have whole pages without an object
//! in use. Each tick walks over slabs of the classes in turn, as far as a budget
//! goes, and purges such pages of those that have not changed for a while.
//!
//! P2: while pages are being purged, which is done under no lock, all objects on
//! them are claimed, so nobody can be given them. The slab is then in use, and
//! stays.
//!
//! Locks: a node's `classes[c]`, dropped before the provider is called; the regions'
//! gate of purges is passed around each round, so that no fork comes into one (P3).

use core::ops::Range;

use super::class_slabs::ClassSlabs;
use super::header::Slab;
use super::slabs::{Retired, Slabs};
use crate::base::class::{CLASSES, Class};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::FaultKind;
use crate::base::sync::Lock;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::units::PAGE_SIZE;
use crate::provider::{Capabilities, PageProvider};
use crate::region::Regions;

/// Slabs that a walk goes over, at most: a cache miss each.
const LOOKS: u32 = 4096;

/// Stretches of pages that a walk purges at most: a system call each.
const CALLS: u32 = 1024;

/// Pages of a stretch that is worth the call while memory is not short: single
/// pages that come and go were measured to slow a program down by more than the
/// calls, wherever the kernel then finds memory for the next ones.
const LEAST: u32 = 2;

/// Slabs looked at before the lock of the class is dropped.
const LOOKS_AT_ONCE: u32 = 64;

/// Stretches purged between two locks: no slab has more of them.
const PARTS: usize = 32;

/// What is to be given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    /// Of slabs that have not changed in so many looks.
    pub looks: u16,
    /// About how much, in bytes.
    pub bytes: usize,
}

/// What is in slabs, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlabUsage {
    /// The runs themselves.
    pub runs: usize,
    /// Objects live or cached.
    pub in_use: usize,
    /// Free objects but for pages given back.
    pub free: usize,
}

/// What a walk may still do.
struct Budget {
    looks: u32,
    calls: u32,
    bytes: usize,
    /// Looks in which a slab has not changed.
    rest: u16,
    /// Fewest pages of a stretch.
    least: u32,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.looks == 0 || self.calls == 0 || self.bytes == 0
    }
}

/// A stretch of a slab's pages that is being purged.
struct Part {
    slab: Slab,
    pages: Range<u32>,
    /// Whether the provider did it.
    purged: bool,
}

/// Those of one round.
struct Parts {
    parts: [Option<Part>; PARTS],
    count: usize,
}

impl Parts {
    fn push(&mut self, part: Part) {
        self.parts[self.count] = Some(part);
        self.count += 1;
    }

    fn room(&self) -> usize {
        PARTS - self.count
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.parts[..self.count].iter_mut().flatten()
    }
}

impl<C: Config> Slabs<C> {
    /// Gives back pages of slabs that have not changed for a while, at most
    /// so many at a time. Returns the bytes given.
    pub(crate) fn purge_idle(&self, regions: &Regions<C>, provider: &C::Pages, aim: Aim) -> usize {
        let Aim { looks: rest, bytes } = aim;
        let mut budget = Budget { looks: LOOKS, calls: CALLS, bytes, rest, least: LEAST };
        // Relaxed: two who walk at once share the work.
        let first = self.turn.load(Relaxed) as usize;
        let mut given = 0;
        for turn in first..first + CLASSES {
            let Some(class) = class_of(turn) else { continue };
            for (_, classes) in self.nodes.all() {
                given += self.purge_class(
                    regions,
                    provider,
                    class,
                    &classes[class.index()],
                    &mut budget,
                );
            }
            if budget.is_spent() {
                self.turn.store((turn % CLASSES) as u32, Relaxed);
                return given;
            }
        }
        given
    }

    /// Begins a look: what changes from now on has not rested in it. Returns
    /// what is in all slabs.
    pub(crate) fn look(&self) -> SlabUsage {
        let mut usage = SlabUsage::default();
        for (_, classes) in self.nodes.all() {
            for class in Class::all() {
                let info = class.info();
                let mut slabs = classes[class.index()].lock();
                slabs.note_look();
                let free = slabs.free * class.size();
                usage.runs += slabs.slabs as usize * info.slab_pages as usize * PAGE_SIZE;
                usage.in_use += slabs.slabs as usize * info.objects as usize * class.size() - free;
                usage.free += free.saturating_sub(slabs.purged as usize * PAGE_SIZE);
            }
        }
        usage
    }

    /// Gives back all free pages of slabs. Returns the bytes given.
    pub(crate) fn purge_all(&self, regions: &Regions<C>, provider: &C::Pages) -> usize {
        let mut given = 0;
        for class in Class::all() {
            for (_, classes) in self.nodes.all() {
                let slabs = &classes[class.index()];
                slabs.lock().end_walk();
                let (looks, calls, bytes) = (u32::MAX, u32::MAX, usize::MAX);
                let mut all = Budget { looks, calls, bytes, rest: 0, least: 1 };
                given += self.purge_class(regions, provider, class, slabs, &mut all);
            }
        }
        given
    }

    /// Goes on with the walk over the slabs of a class, or begins one, to its
    /// end or that of the budget.
    fn purge_class(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        class: Class,
        slabs: &Lock<ClassSlabs, C::Env>,
        budget: &mut Budget,
    ) -> usize {
        let unit = (provider.page_size() / PAGE_SIZE) as u32;
        if unit > class.info().slab_pages || !provider.capabilities().contains(Capabilities::PURGE)
        {
            return 0;
        }
        let mut given = 0;
        slabs.lock().begin_walk();
        loop {
            let mut parts = Parts { parts: [const { None }; PARTS], count: 0 };
            let passing = regions.purging.pass();
            let more = gather(&mut slabs.lock(), regions, unit, budget, &mut parts);
            for part in parts.iter_mut() {
                let bytes = part.pages.len() * PAGE_SIZE;
                // SAFETY: P2, the pages are ours; they lie in the slab's run, in
                // whole machine pages, as the run is aligned to its length.
                part.purged = unsafe {
                    let start = part.slab.run_start().add(part.pages.start as usize * PAGE_SIZE);
                    provider.purge(start, bytes).is_ok()
                };
                if part.purged {
                    given += bytes;
                    budget.bytes = budget.bytes.saturating_sub(bytes);
                }
            }
            if parts.count > 0 {
                Self::put_back(regions, slabs, parts);
            }
            drop(passing);
            if !more || budget.is_spent() {
                return given;
            }
        }
    }

    /// Makes the objects on purged pages free again.
    fn put_back(regions: &Regions<C>, slabs: &Lock<ClassSlabs, C::Env>, mut parts: Parts) {
        let mut retired = Retired::none();
        let mut slabs = slabs.lock();
        for part in parts.iter_mut() {
            let was_listed = part.slab.free() > 0;
            let Ok(given) = part.slab.give_pages(&part.pages) else {
                let start = part.slab.run_start();
                drop(slabs);
                C::Env::fatal(regions.fault_at(FaultKind::DoubleFree, start.as_ptr()));
            };
            slabs.free += given;
            if part.purged {
                slabs.purged += part.slab.mark_purged(&part.pages);
            }
            // SAFETY: `was_listed` by S4; the slab is of this class.
            unsafe { retired.settle(regions, &mut slabs, part.slab, was_listed) };
        }
        drop(slabs);
        Self::give_runs(regions, retired);
    }
}

/// The class whose turn it is.
fn class_of(turn: usize) -> Option<Class> {
    Some(Class::from_index((turn % CLASSES) as u8)).filter(|class| class.is_small())
}

/// Claims the objects on pages that are to be purged, of the next slabs of the
/// walk. `false` when it is at its end.
fn gather<C: Config>(
    slabs: &mut ClassSlabs,
    regions: &Regions<C>,
    unit: u32,
    budget: &mut Budget,
    parts: &mut Parts,
) -> bool {
    let last = budget.looks.saturating_sub(LOOKS_AT_ONCE);
    while budget.looks > last && budget.calls > 0 {
        let Some(slab) = slabs.walk() else { return false };
        budget.looks -= 1;
        if !slabs.has_rested(slab, budget.rest) {
            continue;
        }
        let located = regions.locate(slab.run_start().as_ptr());
        if !located.is_some_and(|at| at.capabilities().contains(Capabilities::PURGE)) {
            slabs.settle(slab);
            continue;
        }
        let wanted = slab.stretches(unit, budget.least).count();
        if wanted > parts.room() {
            slabs.walk_back_to(slab);
            return true;
        }
        slabs.settle(slab);
        if wanted == 0 {
            continue;
        }
        for pages in slab.stretches(unit, budget.least) {
            slabs.free -= slab.take_pages(&pages);
            parts.push(Part { slab, pages, purged: false });
        }
        budget.calls = budget.calls.saturating_sub(wanted as u32);
        // SAFETY: it was in a list, as all that are walked over.
        unsafe { slabs.relink(slab, true) };
    }
    true
}
