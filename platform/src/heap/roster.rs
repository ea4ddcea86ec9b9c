//! A list of what lives for a while and may be found by anybody: records of heaps.
//!
//! The newest comes first, hence an inner one before the one that it is inside of.
//!
//! - W1: what is in the list is alive, and stays in its place: it is taken out before
//!   it ends or is changed, and shown under `live` alone.
//! - W2: the list does not change while `changes` is held.
//!
//! Locks: `changes`, then (at a fork) those of what is listed, the newest first, then
//! `live`. Changes of the list take both, in this order; who looks something up takes
//! `live` alone, a leaf.

use core::cell::Cell;
use core::ptr::NonNull;

use granule_core::Environment;
use granule_core::base::sync::Lock;
use granule_core::base::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a record has for the list.
pub(super) struct Links<T> {
    /// What it is inside of, if anything.
    outer: Option<NonNull<T>>,
    /// Under `live`.
    next: Cell<Option<NonNull<T>>>,
}

impl<T> Links<T> {
    /// Of a record in no list, inside of `outer`.
    pub(super) const fn new(outer: Option<NonNull<T>>) -> Self {
        Self { outer, next: Cell::new(None) }
    }
}

/// A record that can be listed.
pub(super) trait Linked: Sized {
    /// Its links, always the same.
    fn links(&self) -> &Links<Self>;
}

/// The newest record.
struct List<T>(Option<NonNull<T>>);

// SAFETY: records are reached under the lock.
unsafe impl<T> Send for List<T> {}

/// The list, and how many there are.
pub(super) struct Roster<T, E> {
    changes: Lock<(), E>,
    live: Lock<List<T>, E>,
    /// Who looks something up need not where there is nothing.
    count: AtomicUsize,
}

impl<T: Linked> List<T> {
    fn records(&self) -> impl Iterator<Item = NonNull<T>> + use<T> {
        // SAFETY: W1; the caller has the list.
        core::iter::successors(self.0, |at| unsafe { at.as_ref() }.links().next.get())
    }

    /// Takes out the first record that matches.
    fn take(&mut self, matches: impl Fn(NonNull<T>) -> bool) -> Option<NonNull<T>> {
        let mut before: Option<NonNull<T>> = None;
        let found = self.records().find(|&at| {
            let found = matches(at);
            if !found {
                before = Some(at);
            }
            found
        })?;
        // SAFETY: W1, and we have the list.
        let next = unsafe { found.as_ref() }.links().next.take();
        match before {
            // SAFETY: as above.
            Some(before) => unsafe { before.as_ref() }.links().next.set(next),
            None => self.0 = next,
        }
        Some(found)
    }

    /// Takes out whatever is inside of `outer`; returns how many.
    fn take_inner(&mut self, outer: NonNull<T>) -> usize {
        // SAFETY: W1, and we have the list.
        let is_inner = |at: NonNull<T>| unsafe { at.as_ref() }.links().outer == Some(outer);
        let mut taken = 0;
        while let Some(inner) = self.take(is_inner) {
            // As deep as they are nested.
            taken += 1 + self.take_inner(inner);
        }
        taken
    }
}

impl<T: Linked, E: Environment> Roster<T, E> {
    /// Nobody.
    pub(super) const fn new() -> Self {
        Self { changes: Lock::new(()), live: Lock::new(List(None)), count: AtomicUsize::new(0) }
    }

    /// Whether there is any.
    #[inline]
    pub(super) fn any(&self) -> bool {
        // Relaxed: whoever has a pointer into what is listed got it, by the program's
        // own synchronisation, after it was entered.
        self.count.load(Relaxed) != 0
    }

    /// Enters a record: it can be found from now on, by `&T` from any thread.
    ///
    /// # Safety
    ///
    /// Caller: it is in no list; until it has been taken out it is neither ended,
    /// moved nor changed (W1).
    pub(super) unsafe fn enter(&self, at: NonNull<T>) {
        let _changes = self.changes.lock();
        let mut live = self.live.lock();
        // SAFETY: by the contract.
        unsafe { at.as_ref() }.links().next.set(live.0);
        live.0 = Some(at);
        // Relaxed: as in `any`; changed under the lock.
        self.count.fetch_add(1, Relaxed);
    }

    /// Takes a record out, and those inside of it, if they are in.
    ///
    /// # Safety
    ///
    /// Caller: it was entered, and is alive.
    pub(super) unsafe fn leave(&self, at: NonNull<T>) {
        let _changes = self.changes.lock();
        let mut live = self.live.lock();
        let own = usize::from(live.take(|other| other == at).is_some());
        let taken = own + live.take_inner(at);
        self.count.fetch_sub(taken, Relaxed);
    }

    /// Shows the newest record that matches, while it cannot end.
    pub(super) fn find<R>(
        &self,
        matches: impl Fn(&T) -> bool,
        show: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        if !self.any() {
            return None;
        }
        let live = self.live.lock();
        // SAFETY: W1, and we have the list.
        let mut records = live.records().map(|at| unsafe { &*at.as_ptr() });
        records.find(|record| matches(record)).map(show)
    }

    /// Before `fork`: closes all locks, those that `hold` closes of each record among
    /// them.
    pub(super) fn hold(&self, hold: impl Fn(&T)) {
        self.changes.hold();
        self.for_each(hold);
        self.live.hold();
    }

    /// After `fork`: opens them again.
    ///
    /// # Safety
    ///
    /// Caller: closed them by [`hold`](Self::hold), or is the only thread of a child
    /// of who did; `unhold` undoes what was done to each record.
    pub(super) unsafe fn unhold(&self, unhold: impl Fn(&T)) {
        // SAFETY: by the contract. The list has not changed meanwhile (W2).
        unsafe {
            self.live.unhold();
            self.for_each(unhold);
            self.changes.unhold();
        }
    }

    /// Shows each record, while the caller holds `changes`, or is the only thread.
    pub(super) fn for_each(&self, show: impl Fn(&T)) {
        // Not under `live`: see the order of locks.
        let records = self.live.lock().records();
        // SAFETY: W2, so records stay in place, and alive by W1.
        records.for_each(|at| show(unsafe { at.as_ref() }));
    }
}

#[cfg(all(test, loom))]
#[path = "roster_models.rs"]
mod models;
