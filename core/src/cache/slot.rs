//! A CPU's cache: what its fast paths use, and the stash behind it.
//!
//! The stash holds full sheaves per class, within a budget of bytes over all
//! classes, and empty ones. Without it, bursts that free many objects on one
//! CPU and allocate them on another spend twice the time at the depot.
//!
//! Locks: `stash`, a leaf: nothing is called while it is held. Paths only try
//! it: who finds it taken (after a migration) goes to the depot instead.

use core::ptr::NonNull;

use super::cold::{COLD_MS, bit};
use super::sheaf::{
    ORDERS, Sheaf, SheafList, Word, bytes_beyond, capacity, larger_order, min_order,
};
use super::tops::Tops;
use crate::base::class::{CLASSES, Class};
use crate::base::env::{Environment, elapsed_ms};
use crate::base::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::base::sync::{Lock, Update};

/// Orders of the first sheaves.
const FIRST_ORDERS: [u8; CLASSES] = {
    let mut orders = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        orders[class] = min_order(Class::from_index(class as u8));
        class += 1;
    }
    orders
};

/// Empty sheaves kept by a slot, over all orders.
const EMPTIES_MAX: u32 = 64;

/// The cache of one CPU or thread.
#[repr(C, align(64))]
pub struct Slot<E: Environment> {
    /// First, so that a pointer to the slot is one to its tops.
    tops: Tops,
    pub(crate) stash: Lock<Stash, E>,
    pub(crate) recent: Recent,
    /// The next slot in the list of all, written once.
    pub(crate) next: Option<NonNull<Slot<E>>>,
    /// The next slot in the list of unused ones, under the registry's lock.
    pub(crate) next_unused: AtomicPtr<Slot<E>>,
    /// Whether a CPU or thread has the slot.
    pub(crate) in_use: AtomicBool,
    /// The node whose objects are stashed, where nodes are told apart.
    pub(crate) node: AtomicU32,
    /// The drain the slot has last taken part in.
    pub(crate) epoch: AtomicU32,
    /// Misses of allocations and of frees.
    pub(crate) refills: Tally,
    pub(crate) overflows: Tally,
    /// What the last looks saw of them.
    pub(crate) idle: Idle,
}

/// A number of misses, modulo 2^32. Two at once, one of which was moved to another
/// CPU meanwhile, may count as one: an exchange costs as much as the stash's lock.
pub(crate) struct Tally(AtomicU32);

impl Tally {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more; returns how many there are now.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        // Relaxed: a number that nothing hangs on.
        let count = self.0.load(Relaxed).wrapping_add(1);
        self.0.store(count, Relaxed);
        count
    }

    /// How many there are.
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Since when a slot has missed nothing. Written by whoever has the tick.
pub(crate) struct Idle {
    misses: AtomicU32,
    since: AtomicU32,
    drained: AtomicBool,
}

impl Idle {
    const fn new() -> Self {
        Self { misses: AtomicU32::new(0), since: AtomicU32::new(0), drained: AtomicBool::new(true) }
    }

    /// Whether there has been no miss for `delay` milliseconds, as far as
    /// calls with the present count of `misses` tell, nor a drain.
    pub(crate) fn is_due<E: Environment>(&self, misses: u32, now: u32, delay: u32) -> bool {
        if self.misses.swap_in::<E>(misses, Relaxed) != misses {
            self.since.store(now, Relaxed);
            self.drained.store(false, Relaxed);
        }
        !self.drained.load(Relaxed) && elapsed_ms(self.since.load(Relaxed), now) >= delay
    }

    /// Notes a drain: there is nothing more to do before the next miss.
    pub(crate) fn note_drained(&self) {
        self.drained.store(true, Relaxed);
    }
}

/// What a slot knows of its runs beside their sheaves.
pub(crate) struct Recent {
    /// One bit for each class of runs that was freed since the last flush.
    pub(crate) freed: AtomicU32,
    /// The age at the last flush.
    pub(crate) age: AtomicU32,
}

impl Recent {
    const fn new() -> Self {
        Self { freed: AtomicU32::new(0), age: AtomicU32::new(0) }
    }
}

impl<E: Environment> core::fmt::Debug for Slot<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl<E: Environment> Slot<E> {
    pub(crate) const fn new(next: Option<NonNull<Self>>) -> Self {
        Self {
            tops: Tops::new(),
            stash: Lock::new(Stash::new()),
            recent: Recent::new(),
            next,
            next_unused: AtomicPtr::new(core::ptr::null_mut()),
            in_use: AtomicBool::new(false),
            node: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            refills: Tally::new(),
            overflows: Tally::new(),
            idle: Idle::new(),
        }
    }

    /// Bytes of objects in the sheaves in use and in the stash.
    pub(crate) fn cached_bytes(&self) -> usize {
        let in_use = Class::all().map(|class| self.tops.get(class).len() * class.size());
        in_use.sum::<usize>() + self.stash.lock().bytes()
    }

    /// What fast paths act on.
    #[inline(always)]
    pub fn tops(&self) -> &Tops {
        &self.tops
    }
}

/// What a stash gives up.
#[must_use = "dropping a sheaf leaks it and its objects"]
pub(crate) struct Shed {
    pub(crate) class: Class,
    pub(crate) sheaf: Sheaf,
    /// Whether there is more to give up.
    pub(crate) more: bool,
}

/// Sheaves that a CPU keeps besides those in use.
pub(crate) struct Stash {
    full: [SheafList; CLASSES],
    /// One bit for each class that has any of these, and for each that has several.
    stocked: u64,
    piled: u64,
    empty: [SheafList; ORDERS],
    empties: u32,
    /// Order of the next sheaf of a class: small until the class proves hot.
    order: [u8; CLASSES],
    /// Bytes of objects in sheaves of these orders beyond those that each class may have.
    grown: usize,
    /// Bytes of objects in full sheaves but for the first of each class, which is free:
    /// a class whose need swings about the end of a sheaf has one more, as in Bonwick's
    /// pairs of magazines (Bonwick and Adams, USENIX 2001).
    beyond: usize,
    victim: u8,
    /// How often each class was looked for and not yet put in again. A CPU that frees
    /// what others allocate never has use for what it stashes.
    calls: [u8; CLASSES],
    /// One bit for each class that has several sheaves, of which the last one was put in
    /// without such a call.
    uncalled: u64,
    /// One bit for each class that has missed since the last look.
    missed: u64,
    /// When that was.
    looked: u32,
}

impl Stash {
    const fn new() -> Self {
        Self {
            full: [const { SheafList::new() }; CLASSES],
            stocked: 0,
            piled: 0,
            empty: [const { SheafList::new() }; ORDERS],
            empties: 0,
            order: FIRST_ORDERS,
            grown: 0,
            beyond: 0,
            victim: 0,
            calls: [0; CLASSES],
            uncalled: 0,
            missed: 0,
            looked: 0,
        }
    }

    /// Takes the newest full sheaf of a class that has missed.
    pub(crate) fn take_full(&mut self, class: Class) -> Option<Sheaf> {
        self.missed |= bit(class);
        let calls = &mut self.calls[class.index()];
        *calls = calls.saturating_add(1);
        self.pop_full(class)
    }

    /// Takes the newest full sheaf of a class that has not missed, to be given back.
    pub(super) fn pop_full(&mut self, class: Class) -> Option<Sheaf> {
        let list = &mut self.full[class.index()];
        let sheaf = list.pop(|order| capacity(class, order))?;
        self.uncalled &= !bit(class);
        match list.count() {
            0 => self.stocked &= !bit(class),
            left => {
                self.beyond -= sheaf.len() * class.size();
                if left == 1 {
                    self.piled &= !bit(class);
                }
            }
        }
        Some(sheaf)
    }

    /// Shows the objects of each full sheaf of a class.
    pub(crate) fn each_full(&self, class: Class, show: impl FnMut(&[Word])) {
        self.full[class.index()].each(|order| capacity(class, order), show);
    }

    /// Whether there is more than so many bytes beyond a sheaf of each class, or
    /// something uncalled for; with none allowed, whether there is anything.
    #[inline]
    pub(crate) fn exceeds(&self, budget: usize) -> bool {
        if budget == 0 { self.stocked != 0 } else { self.beyond > budget || self.uncalled != 0 }
    }

    /// Gives a full sheaf up when it [`exceeds`](Self::exceeds) the budget: one that was
    /// uncalled for, one of the other classes in turn or, when they have none to spare,
    /// of `newest`. One small sheaf may not outweigh a large one, so once may not be
    /// enough.
    pub(crate) fn shed(&mut self, newest: Class, budget: usize) -> Option<Shed> {
        if !self.exceeds(budget) {
            return None;
        }
        let class = if self.uncalled != 0 {
            Class::from_index(self.uncalled.trailing_zeros() as u8)
        } else {
            let victims = if budget == 0 { self.stocked } else { self.piled };
            self.next_victim(victims & !bit(newest)).unwrap_or(newest)
        };
        let sheaf = self.pop_full(class)?;
        Some(Shed { class, sheaf, more: self.exceeds(budget) })
    }

    /// The next class in turn of these.
    fn next_victim(&mut self, classes: u64) -> Option<Class> {
        if classes == 0 {
            return None;
        }
        // Those behind the last victim, or else from the start.
        let behind = classes & (!1 << self.victim);
        let from = if behind == 0 { classes } else { behind };
        self.victim = from.trailing_zeros() as u8;
        Some(Class::from_index(self.victim))
    }

    /// Takes an empty sheaf of an order, formatted for the class.
    #[inline]
    pub(crate) fn take_empty(&mut self, class: Class, order: u8) -> Option<Sheaf> {
        let sheaf = self.empty[usize::from(order)].pop(|_| 0)?;
        self.empties -= 1;
        // SAFETY: the sheaf was in our list (C1) and is empty.
        Some(unsafe { Sheaf::format(sheaf.into_block(), class, order) })
    }

    /// Stashes a full sheaf whatever the budget: the next call of
    /// [`shed`](Self::shed) makes up for it.
    #[inline]
    pub(crate) fn keep_full(&mut self, class: Class, sheaf: Sheaf) {
        let calls = self.calls[class.index()];
        self.calls[class.index()] = calls.saturating_sub(1);
        if self.stocked & bit(class) != 0 {
            self.beyond += sheaf.len() * class.size();
            self.piled |= bit(class);
            if calls == 0 {
                self.uncalled |= bit(class);
            }
        }
        self.stocked |= bit(class);
        self.full[class.index()].push(sheaf);
    }

    /// Keeps an empty sheaf, even one too many.
    #[inline]
    pub(crate) fn keep_empty(&mut self, sheaf: Sheaf) {
        self.empties += 1;
        self.empty[usize::from(sheaf.order())].push(sheaf);
    }

    /// Gives an empty sheaf up when there are more than enough.
    #[inline]
    pub(crate) fn surplus(&mut self) -> Option<Sheaf> {
        if self.empties > EMPTIES_MAX { self.take_any_empty() } else { None }
    }

    /// Keeps an empty sheaf, or gives it back when there are enough.
    pub(crate) fn put_empty(&mut self, sheaf: Sheaf) -> Option<Sheaf> {
        if self.empties >= EMPTIES_MAX {
            return Some(sheaf);
        }
        self.keep_empty(sheaf);
        None
    }

    /// Takes any empty sheaf, to drain the slot.
    pub(crate) fn take_any_empty(&mut self) -> Option<Sheaf> {
        let sheaf = self.empty.iter_mut().find_map(|list| list.pop(|_| 0))?;
        self.empties -= 1;
        Some(sheaf)
    }

    /// Order of the next sheaf of a class.
    pub(crate) fn order(&self, class: Class) -> u8 {
        self.order[class.index()]
    }

    /// Makes the next sheaf of a class twice as large, if the class allows, and the
    /// `budget`, twice, of what sheaves hold beyond 64 KiB each and of what is stashed
    /// and counted. So a few classes of large objects have large sheaves, and many have
    /// not.
    #[inline]
    pub(crate) fn grow_order(&mut self, class: Class, budget: impl FnOnce() -> usize) {
        self.missed |= bit(class);
        let order = &mut self.order[class.index()];
        let larger = larger_order(class, *order);
        let more = bytes_beyond(class, larger) - bytes_beyond(class, *order);
        if more > 0 && self.grown + self.beyond + more > 2 * budget() {
            return;
        }
        self.grown += more;
        *order = larger;
    }

    /// The classes, a bit each, that have missed nothing since the last look;
    /// none when that was less than [`COLD_MS`] ago.
    pub(super) fn look_for_cold(&mut self, now: u32) -> u64 {
        if elapsed_ms(self.looked, now) < COLD_MS {
            return 0;
        }
        self.looked = now;
        !core::mem::take(&mut self.missed)
    }

    /// Takes a full sheaf of a cold class; without one, lets it start small
    /// again.
    pub(super) fn cool(&mut self, class: Class) -> Option<Sheaf> {
        let sheaf = self.pop_full(class);
        if sheaf.is_none() {
            let order = &mut self.order[class.index()];
            self.grown -= bytes_beyond(class, *order);
            *order = min_order(class);
            self.calls[class.index()] = 0;
        }
        sheaf
    }

    /// Starts small again.
    pub(crate) fn reset_orders(&mut self) {
        self.order = FIRST_ORDERS;
        self.grown = 0;
    }

    /// Bytes of objects in stashed sheaves.
    pub(crate) fn bytes(&self) -> usize {
        let mut bytes = 0;
        for class in Class::all() {
            self.each_full(class, |objects| bytes += objects.len() * class.size());
        }
        bytes
    }
}

const _: () = assert!(core::mem::align_of::<Word>() <= 64);

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
