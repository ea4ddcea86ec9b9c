//! What a CPU has behind the sheaves in use: full ones per class, within a budget of
//! bytes over all classes, and empty ones. Without it, bursts that free many objects
//! on one CPU and allocate them on another spend twice the time at the depot.

use super::list::SheafList;
use super::sheaf::{ORDERS, Sheaf, Word, bytes_beyond, capacity, max_order, min_order};
use crate::base::class::{CLASSES, Class};
use crate::base::env::elapsed_ms;

/// Milliseconds without a miss after which a class is cold.
pub(super) const COLD_MS: u32 = 500;

/// The bit of a class of small objects in a word with one for each.
#[inline]
pub(super) const fn bit(class: Class) -> u64 {
    1 << class.index()
}

static_assertions::const_assert!(CLASSES <= u64::BITS as usize);

/// Empty sheaves kept by a slot, over all orders.
const EMPTIES_MAX: u16 = 64;

/// The same where calls may not wait, and find the pool taken when they have one too many.
/// All others put one in only as they take one out, or below [`EMPTIES_MAX`]: so there is
/// never more than one beyond this.
const HOARD_MAX: u16 = 2 * EMPTIES_MAX;

/// What a stash gives up.
#[must_use = "dropping a sheaf leaks it and its objects"]
pub(crate) struct Shed {
    pub(crate) class: Class,
    pub(crate) sheaf: Sheaf,
    /// Whether there is more to give up.
    pub(crate) more: bool,
}

/// An empty sheaf that a stash has too many.
#[must_use = "dropping a sheaf leaks it"]
pub(crate) struct Surplus {
    pub(crate) sheaf: Sheaf,
    /// Whether there is more.
    pub(crate) more: bool,
}

/// What a stash has of a class.
struct Shelf {
    full: SheafList,
    count: u32,
    /// How often the class was looked for and not yet put in again: by a miss once, or
    /// twice when there was nothing and it went deeper. A CPU that frees what others
    /// allocate never has use for what it stashes.
    calls: u8,
    /// Order of the next sheaf: small until the class proves hot.
    order: u8,
    /// The largest that the class may have.
    order_max: u8,
}

impl Shelf {
    const fn new(order: u8, order_max: u8) -> Self {
        Self { full: SheafList::new(), count: 0, calls: 0, order, order_max }
    }
}

/// Sheaves that a CPU keeps besides those in use.
///
/// Between two misses a program's own data may push all of this out of a processor's
/// caches. So what a miss needs lies on few lines: the bits of classes with the stash's
/// lock and the slot's other words, the numbers with the empty sheaves, and what there
/// is of a class with its sheaves.
#[repr(C)]
pub(crate) struct Stash {
    /// One bit for each class that has full sheaves, and for each that has several.
    stocked: u64,
    piled: u64,
    /// One bit for each class that has several sheaves, of which the last one was put in
    /// without a call.
    uncalled: u64,
    /// One bit for each class that has missed since the last look.
    missed: u64,
    /// Bytes of objects in full sheaves but for the first of each class, which is free:
    /// a class whose need swings about the end of a sheaf has one more, as in Bonwick's
    /// pairs of magazines (Bonwick and Adams, USENIX 2001).
    beyond: usize,
    /// Bytes of objects in sheaves of these orders beyond those that each class may have.
    grown: usize,
    /// When the last look was.
    looked: u32,
    empties: u16,
    victim: u8,
    empty: [SheafList; ORDERS],
    shelves: [Shelf; CLASSES],
}

// Four to a line.
#[cfg(all(target_pointer_width = "64", not(loom)))]
static_assertions::const_assert!(
    size_of::<Shelf>() == 16 && core::mem::offset_of!(Stash, shelves) == 96
);

/// Shelves of classes that have no sheaf yet.
const SHELVES: [Shelf; CLASSES] = {
    let mut shelves = [const { Shelf::new(0, 0) }; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        let of = Class::from_index(class as u8);
        shelves[class] = Shelf::new(min_order(of), max_order(of));
        class += 1;
    }
    shelves
};

impl Stash {
    pub(super) const fn new() -> Self {
        Self {
            stocked: 0,
            piled: 0,
            uncalled: 0,
            missed: 0,
            beyond: 0,
            grown: 0,
            looked: 0,
            empties: 0,
            victim: 0,
            empty: [const { SheafList::new() }; ORDERS],
            shelves: SHELVES,
        }
    }

    /// Takes the newest full sheaf of a class that has missed.
    #[inline]
    pub(crate) fn take_full(&mut self, class: Class) -> Option<Sheaf> {
        self.missed |= bit(class);
        let shelf = &mut self.shelves[class.index()];
        shelf.calls = shelf.calls.saturating_add(1);
        self.pop_full(class)
    }

    /// Takes the newest full sheaf of a class that has not missed, to be given back.
    #[inline]
    pub(super) fn pop_full(&mut self, class: Class) -> Option<Sheaf> {
        let shelf = &mut self.shelves[class.index()];
        let sheaf = shelf.full.pop(|order| capacity(class, order))?;
        shelf.count -= 1;
        self.uncalled &= !bit(class);
        match shelf.count {
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
        self.shelves[class.index()].full.each(|order| capacity(class, order), show);
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
        Some(sheaf.retarget(class, order))
    }

    /// Stashes a full sheaf whatever the budget: the next call of
    /// [`shed`](Self::shed) makes up for it.
    #[inline]
    pub(crate) fn keep_full(&mut self, class: Class, sheaf: Sheaf) {
        let shelf = &mut self.shelves[class.index()];
        if shelf.count > 0 {
            self.beyond += sheaf.len() * class.size();
            self.piled |= bit(class);
            if shelf.calls == 0 {
                self.uncalled |= bit(class);
            }
        }
        shelf.calls = shelf.calls.saturating_sub(1);
        shelf.count += 1;
        shelf.full.push(sheaf);
        self.stocked |= bit(class);
    }

    /// Keeps an empty sheaf, even one too many: the next call of
    /// [`surplus`](Self::surplus) makes up for it.
    #[inline]
    pub(crate) fn keep_empty(&mut self, sheaf: Sheaf) {
        self.empties += 1;
        self.empty[usize::from(sheaf.order())].push(sheaf);
    }

    /// Gives an empty sheaf up when there are more than enough.
    #[inline]
    pub(crate) fn surplus(&mut self) -> Option<Surplus> {
        if !self.has_surplus() {
            return None;
        }
        let sheaf = self.take_any_empty()?;
        Some(Surplus { sheaf, more: self.has_surplus() })
    }

    /// Whether there are more empty sheaves than enough.
    #[inline]
    pub(crate) fn has_surplus(&self) -> bool {
        self.empties > EMPTIES_MAX
    }

    /// Whether there are so many that nothing may be done that leaves one more.
    pub(crate) fn is_hoard(&self) -> bool {
        self.empties >= HOARD_MAX
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
    #[inline]
    pub(crate) fn order(&self, class: Class) -> u8 {
        self.shelves[class.index()].order
    }

    /// Makes the next sheaf of a class twice as large, if the class allows, and the
    /// `budget`, twice, of what sheaves hold beyond 64 KiB each and of what is stashed
    /// and counted. So a few classes of large objects have large sheaves, and many have
    /// not.
    #[inline]
    pub(crate) fn grow_order(&mut self, class: Class, budget: impl FnOnce() -> usize) {
        self.missed |= bit(class);
        let shelf = &self.shelves[class.index()];
        if shelf.order < shelf.order_max {
            self.grow_within(class, budget());
        }
    }

    #[cold]
    fn grow_within(&mut self, class: Class, budget: usize) {
        let order = &mut self.shelves[class.index()].order;
        let more = bytes_beyond(class, *order + 1) - bytes_beyond(class, *order);
        if more > 0 && self.grown + self.beyond + more > 2 * budget {
            return;
        }
        self.grown += more;
        *order += 1;
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
            let shelf = &mut self.shelves[class.index()];
            self.grown -= bytes_beyond(class, shelf.order);
            shelf.order = min_order(class);
            shelf.calls = 0;
        }
        sheaf
    }

    /// Starts small again.
    pub(crate) fn reset_orders(&mut self) {
        for class in Class::all() {
            self.shelves[class.index()].order = min_order(class);
        }
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

#[cfg(test)]
#[path = "stash_tests.rs"]
mod tests;
