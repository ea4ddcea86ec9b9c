//! A list of what lives for a while and may be found by anybody: records of heaps.
//!
//! Some call functions of the program's while their locks are held (those with
//! [`Links::calls`], and what is inside of them). What these functions use is older, or
//! does not call. So those that call come first in the list, the newest of them in
//! front; then the others, the newest in front. What comes out and is entered again has
//! its old place.
//!
//! - W1: what is in the list is alive, and stays in its place: it is taken out before
//!   it ends or is changed, and shown under `live` alone.
//! - W2: the list does not change while `changes` is held.
//! - W3: whoever waits for a lock of what is listed, holding one of something else
//!   that is, holds the one that comes earlier in the list.
//!
//! Locks: `changes`, then (at a fork) those of what is listed, in the list's order, then
//! `live`. They are opened in any order, as nobody waits to do so. Changes of the list take both, in this order; who looks something up takes
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
    /// Whether functions of the program's are called under its locks.
    calls: bool,
    /// How many were entered before it, and 1; 0 before it is. Under `changes`.
    number: Cell<u64>,
    /// Under `live`.
    next: Cell<Option<NonNull<T>>>,
}

impl<T> Links<T> {
    /// Of a record in no list, inside of `outer`, which `calls` functions of the
    /// program's or is inside of one that does.
    pub(super) const fn new(outer: Option<NonNull<T>>, calls: bool) -> Self {
        Self { outer, calls, number: Cell::new(0), next: Cell::new(None) }
    }

    /// Whether functions of the program's are called under its locks.
    pub(super) const fn calls(&self) -> bool {
        self.calls
    }

    /// What is larger comes earlier in the list.
    fn rank(&self) -> (bool, u64) {
        (self.calls, self.number.get())
    }
}

/// A record that can be listed.
pub(super) trait Linked: Sized {
    /// Its links, always the same.
    fn links(&self) -> &Links<Self>;
}

/// The first record.
struct List<T>(Option<NonNull<T>>);

// SAFETY: records are reached under the lock.
unsafe impl<T> Send for List<T> {}

/// The list, and how many there are.
pub(super) struct Roster<T, E> {
    /// How many records there have been.
    changes: Lock<u64, E>,
    live: Lock<List<T>, E>,
    /// Who looks something up need not where there is nothing.
    count: AtomicUsize,
}

impl<T: Linked> List<T> {
    fn records(&self) -> impl Iterator<Item = NonNull<T>> + use<T> {
        // SAFETY: W1; the caller has the list.
        core::iter::successors(self.0, |at| unsafe { at.as_ref() }.links().next.get())
    }

    /// Puts a record in its place.
    fn put(&mut self, at: NonNull<T>) {
        // SAFETY: W1, of what is in the list, and by the caller's contract of this one.
        let links = |at: NonNull<T>| unsafe { at.as_ref() }.links();
        let rank = links(at).rank();
        let before = self.records().take_while(|&other| links(other).rank() > rank).last();
        let place = before.map(|before| &links(before).next);
        links(at).next.set(place.map_or(self.0, Cell::get));
        match place {
            Some(place) => place.set(Some(at)),
            None => self.0 = Some(at),
        }
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
        Self { changes: Lock::new(0), live: Lock::new(List(None)), count: AtomicUsize::new(0) }
    }

    /// Whether there is any.
    #[inline]
    pub(super) fn any(&self) -> bool {
        // Relaxed: whoever has a pointer into what is listed got it, by the program's
        // own synchronisation, after it was entered.
        self.count.load(Relaxed) != 0
    }

    /// Enters a record, for the first time or again: it can be found from now on, by
    /// `&T` from any thread.
    ///
    /// # Safety
    ///
    /// Caller: it is in no list; until it has been taken out it is neither ended,
    /// moved nor changed (W1).
    pub(super) unsafe fn enter(&self, at: NonNull<T>) {
        let mut entered = self.changes.lock();
        // SAFETY: by the contract.
        let number = unsafe { &at.as_ref().links().number };
        if number.get() == 0 {
            *entered += 1;
            number.set(*entered);
        }
        let mut live = self.live.lock();
        live.put(at);
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

    /// Shows the record that fits most closely, by the least number, while it cannot
    /// end. Nothing fits more closely than by 0: then no other one is looked at.
    pub(super) fn find<R>(
        &self,
        fit: impl Fn(&T) -> Option<usize>,
        show: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        if !self.any() {
            return None;
        }
        let live = self.live.lock();
        // SAFETY: W1, and we have the list.
        let records = live.records().map(|at| unsafe { &*at.as_ptr() });
        let mut closest: Option<(usize, &T)> = None;
        for record in records {
            let Some(by) = fit(record) else { continue };
            if closest.is_none_or(|(least, _)| by < least) {
                closest = Some((by, record));
            }
            if by == 0 {
                break;
            }
        }
        closest.map(|(_, record)| show(record))
    }

    /// Before `fork`: closes all locks, those that `hold` closes of each record among
    /// them, in the list's order (W3).
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

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "roster_models.rs"]
mod models;
