//! Full sheaves that no CPU holds, by class: how objects freed on one CPU
//! reach another without touching them.
//!
//! Locks: `classes[c]`, a leaf.

use super::list::SheafList;
use super::sheaf::{Sheaf, Word, capacity};
use crate::base::class::{CLASSES, Class};
use crate::base::config::Config;
use crate::base::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::base::sync::{Held, Lock};

struct Shelf {
    full: SheafList,
    count: u32,
    /// The least number of sheaves since the last trim: they were not needed.
    low: u32,
    bytes: usize,
}

/// A depot: a heap's, or a node's.
pub(crate) struct Depot<C: Config> {
    classes: [Lock<Shelf, C::Env>; CLASSES],
    /// Whether a shelf holds anything: a hint that saves its lock.
    stocked: [AtomicBool; CLASSES],
}

impl Shelf {
    const fn new() -> Self {
        Self { full: SheafList::new(), count: 0, low: 0, bytes: 0 }
    }

    fn pop(&mut self, class: Class) -> Option<Sheaf> {
        let sheaf = self.full.pop(|order| capacity(class, order))?;
        self.count -= 1;
        self.bytes -= sheaf.len() * class.size();
        self.low = self.low.min(self.count);
        Some(sheaf)
    }
}

impl<C: Config> Depot<C> {
    pub(crate) const fn new() -> Self {
        Self {
            classes: [const { Lock::new(Shelf::new()) }; CLASSES],
            stocked: [const { AtomicBool::new(false) }; CLASSES],
        }
    }

    /// Takes a full sheaf.
    #[inline]
    pub(crate) fn take(&self, class: Class) -> Option<Sheaf> {
        // Relaxed: who comes too early goes on to the slabs.
        if !self.stocked[class.index()].load(Relaxed) {
            return None;
        }
        self.pop(class, self.classes[class.index()].lock())
    }

    fn pop(&self, class: Class, mut shelf: Held<'_, Shelf, C::Env>) -> Option<Sheaf> {
        let sheaf = shelf.pop(class);
        self.stocked[class.index()].store(shelf.count > 0, Relaxed);
        sheaf
    }

    /// Takes a full sheaf, unless somebody is at the shelf.
    pub(crate) fn take_nolock(&self, class: Class) -> Option<Sheaf> {
        self.pop(class, self.classes[class.index()].try_lock()?)
    }

    /// Stores a full sheaf, or gives it back when there are enough.
    /// Enough are `limit` bytes of objects or one sheaf; with limit 0 none.
    pub(crate) fn put(&self, class: Class, sheaf: Sheaf, limit: usize) -> Option<Sheaf> {
        let bytes = sheaf.len() * class.size();
        let mut shelf = self.classes[class.index()].lock();
        let room = limit.saturating_sub(shelf.bytes) >= bytes;
        if !room && (shelf.count > 0 || limit == 0) {
            return Some(sheaf);
        }
        shelf.count += 1;
        shelf.bytes += bytes;
        shelf.full.push(sheaf);
        self.stocked[class.index()].store(true, Relaxed);
        None
    }

    /// Begins a new interval; returns how many sheaves were not needed in the
    /// last one, which the caller may take.
    pub(crate) fn trim(&self, class: Class) -> u32 {
        let mut shelf = self.classes[class.index()].lock();
        let unneeded = shelf.low;
        // What will be left when the caller has taken them.
        shelf.low = shelf.count - unneeded;
        unneeded
    }

    /// Bytes of objects held of a class.
    pub(crate) fn bytes(&self, class: Class) -> usize {
        self.classes[class.index()].lock().bytes
    }

    /// Shows the objects of each sheaf of a class, under its lock.
    pub(crate) fn each_full(&self, class: Class, show: impl FnMut(&[Word])) {
        let shelf = self.classes[class.index()].lock();
        shelf.full.each(|order| capacity(class, order), show);
    }

    /// Closes every lock for `fork`, in order.
    pub(crate) fn hold(&self) {
        Lock::hold_all(&self.classes);
    }

    /// Opens them again.
    ///
    /// # Safety
    ///
    /// Caller: closed them by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe { Lock::unhold_all(&self.classes) };
    }
}

#[cfg(test)]
#[path = "depot_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "depot_models.rs"]
mod models;
