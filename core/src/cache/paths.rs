//! The slow paths: what happens when a fast path misses.
//!
//! ```text
//! alloc  pop ┬ hit: done
//!            └ miss: refill ─ stash ─ depot ─ claim from slabs ─ swap in, pop
//! free   push ┬ hit: done
//!             └ miss: overflow ─ empty sheaf, swap in ─ full one: stash ─ depot ─ slabs
//! ```
//!
//! Locks: each of stash, depot, pool, registry, slabs and regions is taken
//! and dropped on its own; none is held while another layer is called, but for the
//! front end, which swaps sheaves under the stash's (`exchange`).

use core::ptr::NonNull;

use super::exchange;
use super::frontend::{Current, FrontEnd};
use super::home::Sent;
use super::lower::Lower;
use super::sheaf::{End, Sheaf, Top, Word, apart, batch, min_order};
use super::slot::Slot;
use super::stash::{Shed, Stash, Surplus};
use super::whole::{Cache, Place};
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;

/// Whether a class asks for a sheaf for the first time or again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heat {
    First,
    Again,
}

impl Heat {
    fn of(top: Top) -> Self {
        if top.is_sentinel() { Self::First } else { Self::Again }
    }
}

/// How far an overflow had to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// No further than the stash.
    Stash,
    /// Beyond; or it is the [`SHALLOW`]th.
    Deeper,
}

/// After so many overflows that went no further than the stash one counts as if it
/// had, so that what is done now and then is done where there are no others.
const SHALLOW: u32 = 4;

impl<C: Config> Cache<C> {
    /// An object of `class` after a miss; `None` when out of memory.
    ///
    /// Most misses find what they need in the stash: that comes first and in a straight
    /// line, since what a compiler does ahead of a loop would be done for those, too.
    #[inline]
    pub(crate) fn refill(&self, lower: &Lower<C>, class: Class) -> Option<NonNull<u8>> {
        if let Current::Slot(slot) = lower.front.current() {
            self.keep_up(lower, slot);
            let top = slot.tops().get(class);
            if top.is_empty()
                && let Some(mut stash) = slot.stash.try_lock()
                && let Some(sheaf) = stash.take_full(class)
            {
                slot.refills.count();
                let (front, aside) = (&lower.front, &self.deferred);
                let object = exchange::refill(front, aside, &mut stash, class, top, sheaf);
                let surplus = stash.surplus();
                drop(stash);
                if let Some(surplus) = surplus {
                    self.put_surplus(slot, surplus);
                }
                if object.is_some() {
                    return object;
                }
            }
        }
        self.refill_deeper(lower, class)
    }

    /// As [`refill`](Self::refill), from wherever there is something.
    #[cold]
    #[inline(never)]
    fn refill_deeper(&self, lower: &Lower<C>, class: Class) -> Option<NonNull<u8>> {
        loop {
            let Place::Slot(slot) = self.place(lower) else { return claim_one(lower, class) };
            let top = slot.tops().get(class);
            if !top.is_empty() {
                match NonNull::new(lower.front.pop(class)) {
                    Some(object) => return Some(object),
                    None => continue,
                }
            }
            slot.refills.count();
            let (stashed, order) = match slot.stash.try_lock() {
                Some(mut stash) => match stash.take_full(class) {
                    Some(sheaf) => (Some((top, sheaf)), 0),
                    None => (None, self.next_order(lower, &mut stash, class, Heat::Again)),
                },
                None => (None, min_order(class)),
            };
            let found = stashed.or_else(|| self.full_sheaf(lower, slot, class, top, order));
            let Some((place, mut sheaf)) = found else { return claim_one(lower, class) };
            let object = sheaf.pop()?;
            let new = sheaf.into_top();
            // SAFETY: the new sheaf is ours.
            if unsafe { lower.front.swap(class, place, new) } {
                if !place.is_sentinel() {
                    // SAFETY: `swap` made the old sheaf, one of the class, ours.
                    let (Ok(old) | Err(old)) = unsafe { Sheaf::from_end(place, class, End::Empty) };
                    self.put_emptied(lower, slot, class, old);
                }
                return Some(object);
            }
            // The caller was moved, or somebody else was faster.
            // SAFETY: the swap failed, so the new sheaf is still ours.
            let mut sheaf = unsafe { Sheaf::from_top(new) };
            sheaf.push(object);
            self.put_filled(lower, slot, class, sheaf);
        }
    }

    /// Takes a live object of `class` back after a miss. In a straight line, as
    /// [`refill`](Self::refill).
    #[inline(always)]
    pub(crate) fn overflow(&self, lower: &Lower<C>, class: Class, object: NonNull<u8>) -> Depth {
        // What is stashed is of one node, so where they are told apart it is looked at
        // first.
        if let Current::Slot(slot) = lower.front.current()
            && !lower.is_local()
        {
            self.keep_up(lower, slot);
            let top = slot.tops().get(class);
            if top.is_full()
                && !top.is_sentinel()
                && let Some(mut stash) = slot.stash.try_lock()
                && let Some(sheaf) = self.take_empty(lower, &mut stash, class)
            {
                let count = slot.overflows.count();
                let (front, aside) = (&lower.front, &self.deferred);
                let done = exchange::overflow(front, aside, &mut stash, class, top, sheaf, object);
                let exceeds = stash.exceeds(self.least_budget());
                let shed = if exceeds { stash.shed(class, self.budget(lower)) } else { None };
                drop(stash);
                if let Some(shed) = shed {
                    self.put_shed(lower, slot, class, shed);
                }
                if done {
                    let shallow = !count.is_multiple_of(SHALLOW);
                    return if shallow { Depth::Stash } else { Depth::Deeper };
                }
            }
        }
        self.overflow_deeper(lower, class, object)
    }

    /// As [`overflow`](Self::overflow), wherever there is room.
    #[cold]
    #[inline(never)]
    pub(crate) fn overflow_deeper(
        &self,
        lower: &Lower<C>,
        class: Class,
        object: NonNull<u8>,
    ) -> Depth {
        loop {
            let Place::Slot(slot) = self.place(lower) else {
                release_one(lower, class, object);
                return Depth::Deeper;
            };
            let top = slot.tops().get(class);
            if !top.is_full() {
                // SAFETY: the caller gave the object up.
                if unsafe { lower.front.push(class, object.as_ptr()) } {
                    return Depth::Stash;
                }
                continue;
            }
            slot.overflows.count();
            let heat = Heat::of(top);
            let Some(mut sheaf) = self.next_empty(lower, slot, class, heat) else {
                release_one(lower, class, object);
                return Depth::Deeper;
            };
            sheaf.push(object);
            if heat == Heat::First && apart(class) > 0 && self.registry.active() > 1 {
                // Passive false sharing (Hoard): what shares the object's line may be in
                // use by who allocated both, so a cold cache hands out others first.
                self.fill(lower, class, &mut sheaf, apart(class));
            }
            let new = sheaf.into_top();
            // SAFETY: the new sheaf is ours.
            if unsafe { lower.front.swap(class, top, new) } {
                if !top.is_sentinel() {
                    // SAFETY: `swap` made the old sheaf, one of the class, ours.
                    let (Ok(old) | Err(old)) = unsafe { Sheaf::from_end(top, class, End::Full) };
                    self.put_filled(lower, slot, class, old);
                }
                return Depth::Deeper;
            }
            // SAFETY: the swap failed, so the new sheaf is still ours; the
            // object, its first, is taken out of it again.
            let mut sheaf = unsafe { Sheaf::from_top(new) };
            lower.slabs.release(&lower.regions, class, &sheaf.objects()[1..]);
            sheaf.clear();
            self.put_emptied(lower, slot, class, sheaf);
        }
    }

    /// A sheaf with at least one object, from beyond the stash, and what is in its
    /// place: `top`, an empty one, unless that sheaf itself was taken and filled.
    fn full_sheaf(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
        top: Top,
        order: u8,
    ) -> Option<(Top, Sheaf)> {
        if let Some(sheaf) = self.take_local(lower, class) {
            return Some((top, sheaf));
        }
        // SAFETY: no sheaf is put in.
        let taken = order_below(top) == Some(order)
            && unsafe { lower.front.swap(class, top, Top::sentinel()) };
        let (place, mut sheaf) = if taken {
            // SAFETY: `swap` made the sheaf, one of the class, ours.
            match unsafe { Sheaf::from_end(top, class, End::Empty) } {
                Ok(sheaf) => (Top::sentinel(), sheaf),
                // It has objects after all.
                Err(sheaf) => return Some((Top::sentinel(), sheaf)),
            }
        } else {
            (top, self.empty_sheaf(lower, slot, class, order)?)
        };
        if self.fill(lower, class, &mut sheaf, usize::MAX) == 0 {
            self.put_emptied(lower, slot, class, sheaf);
            return None;
        }
        Some((place, sheaf))
    }

    /// Puts up to `most` objects from the slabs into a sheaf. Returns how many.
    fn fill(&self, lower: &Lower<C>, class: Class, sheaf: &mut Sheaf, most: usize) -> usize {
        let filled = sheaf.fill(class, |slots| {
            let count = batch(class, slots.len()).min(most);
            claim(lower, class, &slots[slots.len() - count..])
        });
        if C::MAX_TIER.checks_calls() && C::tier().checks_calls() {
            sheaf.shuffle(|| self.random());
        }
        filled
    }

    /// An empty sheaf of an order.
    #[inline]
    fn empty_sheaf(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
        order: u8,
    ) -> Option<Sheaf> {
        let stashed = slot.stash.try_lock().and_then(|mut stash| stash.take_empty(class, order));
        stashed.or_else(|| self.pool.sheaf(&lower.regions, &lower.provider, class, order))
    }

    /// The class's present order; asking again makes the next one larger. A free that
    /// finds no empty sheaf in the stash asks twice, here and deeper: its sheaves grow
    /// fourfold at such a miss, those of allocations twofold. All figures were taken so.
    #[inline]
    fn next_order(&self, lower: &Lower<C>, stash: &mut Stash, class: Class, heat: Heat) -> u8 {
        let order = stash.order(class);
        if heat == Heat::Again {
            stash.grow_order(class, || self.budget(lower));
        }
        order
    }

    /// Takes an empty sheaf of the class's present order out of a stash, for one that is
    /// full.
    #[inline(always)]
    fn take_empty(&self, lower: &Lower<C>, stash: &mut Stash, class: Class) -> Option<Sheaf> {
        let order = self.next_order(lower, stash, class, Heat::Again);
        stash.take_empty(class, order)
    }

    /// An empty sheaf of the class's present order; asking again makes the
    /// next one larger.
    fn next_empty(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
        heat: Heat,
    ) -> Option<Sheaf> {
        let order = match slot.stash.try_lock() {
            Some(mut stash) => self.next_order(lower, &mut stash, class, heat),
            None => min_order(class),
        };
        self.empty_sheaf(lower, slot, class, order)
    }

    /// Finds a place for a sheaf that was full, or nearly so.
    fn put_filled(&self, lower: &Lower<C>, slot: &Slot<C::Env>, class: Class, sheaf: Sheaf) {
        if sheaf.len() != super::sheaf::capacity(class, sheaf.order()) {
            return self.put_emptied(lower, slot, class, sheaf);
        }
        let sheaf = match self.sent_home(lower, class, sheaf) {
            Sent::Local(sheaf) => sheaf,
            Sent::Away(None) => return,
            Sent::Away(Some(rest)) => return self.put_emptied(lower, slot, class, rest),
        };
        let budget = self.budget(lower);
        let shed = match slot.stash.try_lock() {
            Some(mut stash) => {
                stash.keep_full(class, sheaf);
                stash.shed(class, budget)
            }
            None => Some(Shed { class, sheaf, more: false }),
        };
        if let Some(shed) = shed {
            self.put_shed(lower, slot, class, shed);
        }
    }

    /// Finds places for what a stash gives up after something of `newest` was put in.
    #[cold]
    #[inline(never)]
    fn put_shed(&self, lower: &Lower<C>, slot: &Slot<C::Env>, newest: Class, mut shed: Shed) {
        loop {
            self.put_beyond(lower, slot, shed.class, shed.sheaf);
            let next = shed.more.then(|| slot.stash.try_lock()).flatten();
            let Some(mut stash) = next else { return };
            shed = match stash.shed(newest, self.budget(lower)) {
                Some(next) => next,
                None => return,
            };
        }
    }

    /// Gives the empty sheaves back that a stash has too many: mostly one, more after
    /// calls that found the pool taken.
    #[cold]
    #[inline(never)]
    fn put_surplus(&self, slot: &Slot<C::Env>, mut surplus: Surplus) {
        loop {
            self.pool.give(surplus.sheaf);
            let next = surplus.more.then(|| slot.stash.try_lock()).flatten();
            let Some(mut stash) = next else { return };
            surplus = match stash.surplus() {
                Some(next) => next,
                None => return,
            };
        }
    }

    /// Finds a place for a full sheaf beyond the stash.
    fn put_beyond(&self, lower: &Lower<C>, slot: &Slot<C::Env>, class: Class, sheaf: Sheaf) {
        if let Some(sheaf) = self.put_home(lower, class, sheaf) {
            self.put_emptied(lower, slot, class, sheaf);
        }
    }

    /// Gives whatever is in a sheaf back to the slabs and keeps the sheaf.
    pub(super) fn put_emptied(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
        sheaf: Sheaf,
    ) {
        let sheaf = flush(lower, class, sheaf);
        let rejected = match slot.stash.try_lock() {
            Some(mut stash) => stash.put_empty(sheaf),
            None => Some(sheaf),
        };
        if let Some(sheaf) = rejected {
            self.pool.give(sheaf);
        }
    }
}

/// The order of the sheaf of a top that was empty when it was read.
fn order_below(top: Top) -> Option<u8> {
    // A hint: the sheaf is not the caller's, so the word below may by now be an object,
    // or a list's link that says the next one's order. Whoever swaps it out asks it again.
    (!top.is_sentinel()).then(|| Sheaf::order_of_mark(top.below().1))
}

/// Gives the objects in a sheaf back to the slabs.
pub(super) fn flush<C: Config>(lower: &Lower<C>, class: Class, mut sheaf: Sheaf) -> Sheaf {
    if sheaf.len() > 0 {
        lower.slabs.release(&lower.regions, class, sheaf.objects());
        sheaf.clear();
    }
    sheaf
}

/// Flushes the sheaf of a top taken out of its place.
///
/// # Safety
///
/// Caller: owns the sheaf (C1); the top is not the sentinel.
pub(super) unsafe fn flush_top<C: Config>(lower: &Lower<C>, class: Class, top: Top) -> Sheaf {
    // SAFETY: by the contract.
    flush(lower, class, unsafe { Sheaf::from_top(top) })
}

/// Claims objects from the slabs that are the caller's to use.
pub(super) fn claim<C: Config>(lower: &Lower<C>, class: Class, out: &[Word]) -> usize {
    lower.slabs.claim(&lower.regions, &lower.provider, lower.source(), class, out)
}

#[cold]
fn claim_one<C: Config>(lower: &Lower<C>, class: Class) -> Option<NonNull<u8>> {
    let one = [Word::new(core::ptr::null_mut())];
    match claim(lower, class, &one) {
        0 => None,
        _ => NonNull::new(one[0].load(Relaxed)),
    }
}

#[cold]
fn release_one<C: Config>(lower: &Lower<C>, class: Class, object: NonNull<u8>) {
    lower.slabs.release(&lower.regions, class, &[Word::new(object.as_ptr())]);
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
