//! All classes' slabs: objects are claimed and released in batches.
//!
//! Where there are several nodes each has slabs of its own. An object is
//! claimed from the caller's node: of present slabs, of a new one, and only then
//! of others. It is released to the lists that its slab names, so it goes home.
//!
//! Locks: a node's `classes[c]`, one at a time, none of another layer under it.
//! Growth is asked of the regions after the lock has been dropped.

use core::ptr::NonNull;

use super::class_slabs::ClassSlabs;
use super::header::{BadObject, Slab};
use crate::base::class::{CLASSES, Class};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::{Fault, FaultKind};
use crate::base::sync::Lock;
use crate::base::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::base::units::PageCount;
use crate::base::violation::Violation;
use crate::provider::Node;
use crate::region::nodes::nodes;
use crate::region::{Located, Near, PerNode, Regions};

/// The slabs of a heap.
pub(crate) struct Slabs<C: Config> {
    pub(super) nodes: PerNode<Classes<C>, C::Env>,
    /// The class whose slabs are walked over next, see [`idle`](super::idle).
    pub(super) turn: AtomicU32,
}

/// A node's slabs, by class.
type Classes<C> = [Lock<ClassSlabs, <C as Config>::Env>; CLASSES];

const fn no_slabs<C: Config>() -> Classes<C> {
    const { assert!(C::NODES <= 256, "a slab names its node in a byte") };
    [const { Lock::new(ClassSlabs::new()) }; CLASSES]
}

/// Slabs and objects of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlabStats {
    pub slabs: usize,
    pub capacity: usize,
    pub free: usize,
    /// Pages that have been given back.
    pub purged: usize,
}

/// Emptied slabs on their way back, linked by `next`.
pub(super) struct Retired(Option<Slab>);

impl Retired {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Puts a slab some of whose objects became free where it belongs: on its
    /// way back if it is empty and not the last of its class that is not full.
    ///
    /// # Safety
    ///
    /// Caller: the slab is of that class, whose lock is held, and `was_listed` is
    /// true exactly when it is in a list.
    pub(super) unsafe fn settle<C: Config>(
        &mut self,
        regions: &Regions<C>,
        slabs: &mut ClassSlabs,
        slab: Slab,
        was_listed: bool,
    ) {
        // SAFETY: by the contract; what is retired is empty, unlisted and no
        // longer counted.
        unsafe {
            if slab.is_empty() && slabs.partial > u32::from(was_listed) {
                if was_listed {
                    slabs.unlink(slab);
                }
                slabs.forget(slab);
                self.push(regions, slab);
            } else {
                slabs.relink(slab, was_listed);
            }
        }
    }

    /// Also takes its pages' class away (S6).
    ///
    /// # Safety
    ///
    /// Caller: the slab is empty, in no list, and no longer counted; the lock of its
    /// class has been held since it was.
    unsafe fn push<C: Config>(&mut self, regions: &Regions<C>, slab: Slab) {
        if let Some(located) = regions.locate(slab.run_start().as_ptr()) {
            located.clear_class(PageCount(slab.info().slab_pages));
        }
        slab.set_next(self.0.replace(slab));
    }
}

impl<C: Config> Slabs<C> {
    pub(crate) const fn new() -> Self {
        Self { nodes: PerNode::new(no_slabs::<C>()), turn: AtomicU32::new(0) }
    }

    /// Claims up to `out.len()` objects of `class` (a true one), stored from
    /// the end of `out` downwards; as many as present slabs of `node` have, and
    /// from a new slab only when they have none, and from other nodes when this
    /// one is short. Returns how many; 0 when out of memory.
    pub(crate) fn claim(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        node: Node,
        class: Class,
        out: &[AtomicPtr<u8>],
    ) -> usize {
        if let Some(classes) = self.nodes.get(node) {
            let claimed = Self::claim_present(&mut classes[class.index()].lock(), out);
            if claimed > 0 {
                return claimed;
            }
        }
        if nodes::<C>(provider) > 1 {
            return self.claim_near(regions, provider, node, class, out);
        }
        self.claim_new(regions, provider, Near::Only(node), class, out)
    }

    /// From a new slab of the node, or else from wherever there is memory.
    #[cold]
    fn claim_near(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        node: Node,
        class: Class,
        out: &[AtomicPtr<u8>],
    ) -> usize {
        match self.claim_new(regions, provider, Near::Only(node), class, out) {
            0 => {}
            claimed => return claimed,
        }
        for (_, classes) in self.nodes.all().filter(|&(other, _)| other != node) {
            let claimed = Self::claim_present(&mut classes[class.index()].lock(), out);
            if claimed > 0 {
                return claimed;
            }
        }
        self.claim_new(regions, provider, Near::First(node), class, out)
    }

    /// From a new slab.
    fn claim_new(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        near: Near,
        class: Class,
        out: &[AtomicPtr<u8>],
    ) -> usize {
        let info = class.info();
        let pages = PageCount(info.slab_pages);
        let run = regions.take(provider, near, pages, info.slab_pages, Class::LARGE);
        let Ok(run) = run else { return 0 };
        let Some(located) = regions.locate(run.start.as_ptr()) else { return 0 };
        let descriptors = located.aligned_descriptors(info.slab_pages);
        let home = if C::NODES > 1 { located.node() } else { Node(0) };
        let classes = self.nodes.get_or_make(regions, provider, home, no_slabs::<C>);
        // Without memory for lists of its own the slab is in those of node 0.
        let (home, classes) = match classes {
            Some(classes) => (home, classes),
            None => (Node(0), self.nodes.first()),
        };
        let mut slabs = classes[class.index()].lock();
        slabs.made = slabs.made.wrapping_add(1);
        // SAFETY: the run is ours, with its descriptors (G2); S4: every
        // object of a new slab is free.
        unsafe {
            let slab = Slab::format(descriptors, run.start, class, slabs.made - 1, home);
            slabs.count(slab);
            slabs.link(slab);
        }
        // S6: under the lock.
        located.set_class(pages, class);
        Self::claim_present(&mut slabs, out)
    }

    /// Claims up to `out.len()` objects of `class` from present slabs, those of
    /// `node` first, unless somebody is at them. As [`claim`](Self::claim)
    /// otherwise.
    pub(crate) fn claim_nolock(&self, node: Node, class: Class, out: &[AtomicPtr<u8>]) -> usize {
        let claim = |classes: &Classes<C>| {
            let slabs = classes[class.index()].try_lock();
            slabs.map_or(0, |mut slabs| Self::claim_present(&mut slabs, out))
        };
        match self.nodes.get(node).map_or(0, claim) {
            0 if C::NODES > 1 => {
                let mut others = self.nodes.all().filter(|&(other, _)| other != node);
                others.find_map(|(_, classes)| Some(claim(classes)).filter(|&n| n > 0)).unwrap_or(0)
            }
            claimed => claimed,
        }
    }

    #[inline]
    fn claim_present(slabs: &mut ClassSlabs, out: &[AtomicPtr<u8>]) -> usize {
        let mut claimed = 0;
        while claimed < out.len() {
            let Some(slab) = slabs.fullest() else { break };
            claimed += slabs.claim(slab, &out[..out.len() - claimed]);
            // SAFETY: it was in a list.
            unsafe { slabs.relink(slab, true) };
        }
        claimed
    }

    /// Whether an object starts at `pointer`, in the page of a slab. For reports.
    pub(crate) fn is_object(&self, at: Located<'_>, pointer: NonNull<u8>) -> bool {
        let class = at.class();
        let Some(classes) = self.classes_at(at) else { return false };
        let _slabs = classes[class.index()].lock();
        // SAFETY: the class byte says that a slab is there (G2), and the lock
        // of its class is held.
        let slab = unsafe { Slab::at(at.aligned_descriptors(class.info().slab_pages)) };
        slab.index_of(pointer.addr().get()).is_ok()
    }

    /// Verifies that an object that is cached is one of a slab of its class,
    /// and is not free there (S1).
    pub(crate) fn check_cached(
        &self,
        regions: &Regions<C>,
        class: Class,
        object: NonNull<u8>,
    ) -> Result<(), Violation> {
        let address = object.addr().get();
        let _slabs = self.lists_of(regions, class, object.as_ptr())[class.index()].lock();
        let state = regions.locate(object.as_ptr()).filter(|at| at.class() == class).map(|at| {
            // SAFETY: the class byte says that a slab is there (G2), and the
            // lock of its class is held.
            let slab = unsafe { Slab::at(at.aligned_descriptors(class.info().slab_pages)) };
            slab.index_of(address).map(|index| slab.is_free(index))
        });
        let known = matches!(state, Some(Ok(_)));
        Violation::unless(known, "C1", "a cached object of no slab of its class", address)?;
        let free = state == Some(Ok(true));
        Violation::unless(!free, "S1", "a cached object that is free in its slab", address)
    }

    /// The lists that the slab at a page of a small class is in; `None` where
    /// there are none of such a node, and so no slab.
    #[inline]
    fn classes_at(&self, at: Located<'_>) -> Option<&Classes<C>> {
        if C::NODES <= 1 || self.nodes.is_first_alone() {
            return Some(self.nodes.first());
        }
        // SAFETY: the class byte says that a slab is there (G2); it stays, as it
        // has a live object, and no more than its node is read. Where it has
        // none, the object was freed twice, which is reported or finds no lists.
        self.nodes
            .get(unsafe { Slab::at(at.aligned_descriptors(at.class().info().slab_pages)) }.node())
    }

    /// Gives objects of `class` back to their slabs. A pointer that is not a
    /// live object of the class is a fault; slabs that run empty return to
    /// their region, but for the last of the class.
    pub(crate) fn release(&self, regions: &Regions<C>, class: Class, objects: &[AtomicPtr<u8>]) {
        let mut retired = Retired::none();
        let mut rest = objects;
        // Once, where there is one node.
        while let Some(first) = rest.first() {
            let classes = self.lists_of(regions, class, first.load(Relaxed));
            let mut slabs = classes[class.index()].lock();
            while let Some(first) = rest.first() {
                let pointer = first.load(Relaxed);
                if C::NODES > 1 && !core::ptr::eq(self.lists_of(regions, class, pointer), classes) {
                    break;
                }
                match Self::release_group(&mut slabs, regions, class, rest, &mut retired) {
                    Ok(done) => rest = &rest[done..],
                    Err(kind) => {
                        drop(slabs);
                        C::Env::fatal(regions.fault_at(kind, pointer));
                    }
                }
            }
        }
        Self::give_runs(regions, retired);
    }

    /// The lists that the slab of an object is in; those of node 0 where it is
    /// no object of the class, which is found out under their lock.
    #[inline]
    fn lists_of(&self, regions: &Regions<C>, class: Class, object: *const u8) -> &Classes<C> {
        if C::NODES <= 1 || self.nodes.is_first_alone() {
            return self.nodes.first();
        }
        let at = regions.locate(object).filter(|at| at.class() == class);
        at.and_then(|at| self.classes_at(at)).unwrap_or(self.nodes.first())
    }

    /// Releases the objects at the front of `objects` that share one word of
    /// one bitmap. Returns how many.
    fn release_group(
        slabs: &mut ClassSlabs,
        regions: &Regions<C>,
        class: Class,
        objects: &[AtomicPtr<u8>],
        retired: &mut Retired,
    ) -> Result<usize, FaultKind> {
        let pointer = objects[0].load(Relaxed);
        let located = regions.locate(pointer).ok_or(FaultKind::InvalidPointer)?;
        if located.class() != class {
            return Err(match located.class() {
                other if other.is_small() => FaultKind::WrongLayout,
                _ => FaultKind::InvalidPointer,
            });
        }
        let descriptors = located.aligned_descriptors(class.info().slab_pages);
        // SAFETY: the class byte says that a slab is there (G2), and the lock
        // of its class is held.
        let slab = unsafe { Slab::at(descriptors) };
        let bad = |bad| match bad {
            BadObject::Free => FaultKind::DoubleFree,
            BadObject::NotAnObject => FaultKind::InvalidPointer,
        };
        let (word, mut bits) = Slab::place(slab.index_of(pointer.addr()).map_err(bad)?);
        let mut done = 1;
        for object in &objects[1..] {
            let Ok(index) = slab.index_of(object.load(Relaxed).addr()) else { break };
            let (next_word, bit) = Slab::place(index);
            if next_word != word || bits & bit != 0 {
                break;
            }
            bits |= bit;
            done += 1;
        }
        let was_listed = slab.free() > 0;
        slab.release(word, bits).map_err(bad)?;
        slabs.free += done;
        slabs.touch(slab);
        // SAFETY: `was_listed` by S4; the class byte says whose slab it is.
        unsafe { retired.settle(regions, slabs, slab, was_listed) };
        Ok(done)
    }

    pub(super) fn give_runs(regions: &Regions<C>, retired: Retired) {
        let mut at = retired.0;
        while let Some(slab) = at {
            // Read before the run, and with it the header, is given up.
            let (start, next, kept) = (slab.run_start(), slab.next(), slab.kept_pages());
            if regions.give_sparse(start, kept, C::Env::now_ms()).is_err() {
                C::Env::fatal(Fault::new(FaultKind::Corrupted, start.as_ptr()));
            }
            at = next;
        }
    }

    /// Returns every empty slab to its region, the last of a class too.
    pub(crate) fn return_empty(&self, regions: &Regions<C>) {
        for (_, classes) in self.nodes.all() {
            for class in Class::all() {
                let mut retired = Retired::none();
                {
                    let mut slabs = classes[class.index()].lock();
                    while let Some(slab) = slabs.take_empty() {
                        // SAFETY: just taken out, empty, under the lock.
                        unsafe { retired.push(regions, slab) };
                    }
                }
                Self::give_runs(regions, retired);
            }
        }
    }

    /// Verifies S1 to S4 of every slab that has free objects, a class at a time
    /// under its lock.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        self.nodes.all().try_for_each(|(node, classes)| {
            Class::all().try_for_each(|class| classes[class.index()].lock().check(class, node))
        })
    }

    /// Counts of one class.
    pub(crate) fn stats(&self, class: Class) -> SlabStats {
        let mut stats = SlabStats::default();
        for (_, classes) in self.nodes.all() {
            let slabs = classes[class.index()].lock();
            stats.slabs += slabs.slabs as usize;
            stats.capacity += slabs.slabs as usize * class.info().objects as usize;
            stats.free += slabs.free;
            stats.purged += slabs.purged as usize;
        }
        stats
    }

    /// Closes every lock for `fork`, in order.
    pub(crate) fn hold(&self) {
        self.nodes.hold(|classes| Lock::hold_all(classes));
    }

    /// Opens them again.
    ///
    /// # Safety
    ///
    /// Caller: closed them by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe { self.nodes.unhold(|classes| Lock::unhold_all(classes)) };
    }
}

#[cfg(test)]
#[path = "slabs_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "slabs_models.rs"]
mod models;
