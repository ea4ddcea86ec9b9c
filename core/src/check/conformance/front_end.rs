//! The suite for front ends.

use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};

use super::{Failure, Report};
use crate::base::class::Class;
use crate::base::env::Environment;
use crate::cache::sheaf::{Sheaf, Top, Word, capacity, words};
use crate::cache::slot::Slot;
use crate::cache::{Current, FrontEnd};

/// How often a call that must succeed is tried: any may miss now and then.
const TRIES: usize = if cfg!(miri) { 2 } else { 1000 };

/// Objects to push: more than the sheaves of the suite hold.
const OBJECTS: usize = 16;

/// Order of the suite's sheaves.
const ORDER: u8 = 0;

const WORDS: usize = words(ORDER);

/// What the suite pushes, and into what. Static, because slots live for ever:
/// leak it, or keep it in a `static`.
pub struct Bench<E: Environment> {
    slot: Slot<E>,
    other: Slot<E>,
    sheaves: [Block; 2],
    objects: [UnsafeCell<u64>; OBJECTS],
}

#[repr(C, align(64))]
struct Block([Word; WORDS]);

impl<E: Environment> core::fmt::Debug for Bench<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bench").finish_non_exhaustive()
    }
}

impl<E: Environment> Default for Bench<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Environment> Bench<E> {
    /// Two empty slots, two sheaves and some objects.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slot: Slot::new(None),
            other: Slot::new(None),
            sheaves: [const { Block([const { Word::new(null_mut()) }; WORDS]) }; 2],
            objects: [const { UnsafeCell::new(0) }; OBJECTS],
        }
    }

    fn object(&self, number: usize) -> *mut u8 {
        self.objects[number].get().cast()
    }

    /// An empty sheaf; the one with that number is not in use.
    fn sheaf(&self, number: usize, class: Class) -> Sheaf {
        let block = NonNull::from(&self.sheaves[number]).cast();
        // SAFETY: the bench's own, aligned, of that many words, not in use.
        unsafe { Sheaf::format(block, class, ORDER) }
    }
}

/// Tests a front end against the implementor's duties of [`FrontEnd`].
///
/// `front` is fresh: the caller's CPU (or thread) has no cache in it yet. It
/// keeps the bench's slot afterwards, empty, and is of no further use on this
/// CPU. The caller stays on its CPU, and nobody else enters there meanwhile.
/// Run it once for each CPU to see that they are apart.
///
/// # Errors
///
/// The first duty that is not met.
pub fn front_end<E: Environment, F: FrontEnd<E>>(
    front: &F,
    bench: &'static mut Bench<E>,
) -> Result<Report, Failure> {
    let mut suite = Suite { front, bench, report: Report::default() };
    suite.absent()?;
    suite.attaches()?;
    for class in [Class::of(8, 8), Class::of(1024, 8), Class::of(32 << 10, 8)] {
        suite.swaps_in(class)?;
        suite.is_last_in_first_out(class)?;
        suite.keeps_classes_apart(class)?;
        suite.swaps_exactly(class)?;
        suite.stops(class)?;
        suite.swaps_out(class)?;
    }
    suite.large_misses()?;
    Ok(suite.report)
}

struct Suite<'a, E: Environment, F> {
    front: &'a F,
    bench: &'static Bench<E>,
    report: Report,
}

impl<E: Environment, F: FrontEnd<E>> Suite<'_, E, F> {
    fn ensure(&mut self, holds: bool, duty: &'static str) -> Result<(), Failure> {
        self.report.ensure(holds, duty)
    }

    fn pop(&self, class: Class) -> *mut u8 {
        (0..TRIES).map(|_| self.front.pop(class)).find(|hit| !hit.is_null()).unwrap_or(null_mut())
    }

    fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: the bench's objects serve as live ones of any class; each
        // is pushed at most once until popped.
        (0..TRIES).any(|_| unsafe { self.front.push(class, object) })
    }

    fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: `new` is the bench's sheaf, not in use, or the sentinel.
        (0..TRIES).any(|_| unsafe { self.front.swap(class, expected, new) })
    }

    fn top(&self, class: Class) -> Top {
        self.bench.slot.tops().get(class)
    }

    /// Whether every fast path misses.
    fn misses(&self, class: Class) -> bool {
        let sheaf = self.bench.sheaf(1, class).into_top();
        self.pop(class).is_null()
            && !self.push(class, self.bench.object(OBJECTS - 1))
            && (!class.is_small() || !self.swap(class, sheaf, Top::sentinel()))
    }

    fn absent(&mut self) -> Result<(), Failure> {
        let absent = matches!(self.front.current(), Current::Absent);
        self.ensure(absent, "a CPU without a cache is absent")?;
        let class = Class::of(64, 8);
        self.ensure(self.misses(class), "without a cache every call misses")?;
        let alone = !self.front.stop(&self.bench.slot);
        self.ensure(alone, "a slot that nobody has cannot be stopped")
    }

    fn attaches(&mut self) -> Result<(), Failure> {
        let bench = self.bench;
        let attached = (0..TRIES).any(|_| self.front.attach(&bench.slot));
        self.ensure(attached, "an absent CPU takes the slot offered")?;
        let own = (0..TRIES).any(|_| self.leads_to(&bench.slot));
        self.ensure(own, "the caller's slot is the one attached")?;
        self.ensure(!self.front.attach(&bench.other), "a CPU with a slot takes no other")?;
        let same = (0..TRIES).any(|_| self.leads_to(&bench.slot));
        self.ensure(same, "a refused slot changes nothing")?;
        let empty = Class::all().all(|class| self.misses(class));
        self.ensure(empty, "an empty slot misses in every class")
    }

    fn leads_to(&self, slot: &Slot<E>) -> bool {
        matches!(self.front.current(), Current::Slot(current) if core::ptr::eq(current, slot))
    }

    /// Sheaf 0, empty, into the place of the sentinel.
    fn swaps_in(&mut self, class: Class) -> Result<(), Failure> {
        let sheaf = self.bench.sheaf(0, class).into_top();
        let wrong = self.bench.sheaf(1, class).into_top();
        self.ensure(!self.swap(class, wrong, sheaf), "swap refuses a top that is not there")?;
        self.ensure(self.top(class).is_sentinel(), "a refused swap changes nothing")?;
        self.ensure(self.swap(class, Top::sentinel(), sheaf), "swap puts a sheaf in")?;
        self.ensure(self.top(class) == sheaf, "swap puts in the sheaf it was given")
    }

    /// From empty to full and back.
    fn is_last_in_first_out(&mut self, class: Class) -> Result<(), Failure> {
        self.ensure(self.pop(class).is_null(), "an empty sheaf misses on pop")?;
        let odd = self.bench.object(0).map_addr(|address| address | 1);
        self.ensure(!self.push(class, odd), "an odd pointer misses on push")?;
        let room = capacity(class, ORDER);
        for number in 0..room {
            let pushed = self.push(class, self.bench.object(number));
            self.ensure(pushed, "a sheaf with room takes an object")?;
        }
        let full = !self.push(class, self.bench.object(room));
        self.ensure(full, "a full sheaf misses on push")?;
        for number in (0..room).rev() {
            let last = self.pop(class) == self.bench.object(number);
            self.ensure(last, "pop returns what was pushed last")?;
        }
        self.ensure(self.pop(class).is_null(), "an emptied sheaf misses on pop")
    }

    fn keeps_classes_apart(&mut self, class: Class) -> Result<(), Failure> {
        let object = self.bench.object(0);
        self.ensure(self.push(class, object), "an emptied sheaf takes an object")?;
        let others = Class::all().filter(|other| *other != class);
        let apart = others.fold(true, |apart, other| apart & self.pop(other).is_null());
        self.ensure(apart, "an object comes back in its own class only")?;
        self.ensure(self.pop(class) == object, "an object comes back in its own class")
    }

    /// Sheaf 1 with an object for sheaf 0 without, and back again.
    fn swaps_exactly(&mut self, class: Class) -> Result<(), Failure> {
        let empty = self.top(class);
        self.ensure(self.push(class, self.bench.object(0)), "a sheaf with room takes an object")?;
        let one = self.top(class);
        let mut sheaf = self.bench.sheaf(1, class);
        if let Some(object) = NonNull::new(self.bench.object(1)) {
            sheaf.push(object);
        }
        let other = sheaf.into_top();
        let stale = self.swap(class, empty, other);
        self.ensure(!stale, "swap refuses a top that has moved")?;
        self.ensure(self.swap(class, one, other), "swap exchanges sheaves")?;
        let new = self.pop(class) == self.bench.object(1);
        self.ensure(new, "after swap pops come from the new sheaf")?;
        let now = self.top(class);
        self.ensure(self.swap(class, now, one), "a sheaf may come back")?;
        let old = self.pop(class) == self.bench.object(0);
        self.ensure(old, "a sheaf that comes back still has its objects")
    }

    /// Stops the CPU if the front end can, and restarts it.
    fn stops(&mut self, class: Class) -> Result<(), Failure> {
        let bench = self.bench;
        self.ensure(!self.front.stop(&bench.other), "only the slot attached can be stopped")?;
        self.ensure(self.push(class, bench.object(0)), "a sheaf with room takes an object")?;
        if self.front.stop(&bench.slot) {
            self.ensure(self.misses(class), "a stopped CPU misses")?;
            let top = self.top(class);
            let refused = !self.swap(class, top, top);
            self.ensure(refused, "a stopped CPU refuses swap")?;
            let stopped = matches!(self.front.current(), Current::Stopped);
            self.ensure(stopped, "a stopped CPU says so")?;
            self.ensure(!self.front.attach(&bench.other), "a stopped CPU takes no slot")?;
            self.front.restart(&bench.slot);
            let again = (0..TRIES).any(|_| self.leads_to(&bench.slot));
            self.ensure(again, "a restarted CPU has its slot again")?;
        } else {
            self.report.refusals += 1;
        }
        let kept = self.pop(class) == bench.object(0);
        self.ensure(kept, "a CPU that is not stopped, or no longer, has its objects")
    }

    fn swaps_out(&mut self, class: Class) -> Result<(), Failure> {
        let top = self.top(class);
        self.ensure(self.swap(class, top, Top::sentinel()), "swap takes a sheaf out")?;
        self.ensure(self.misses(class), "a class without a sheaf misses")
    }

    fn large_misses(&mut self) -> Result<(), Failure> {
        self.ensure(self.misses(Class::LARGE), "class LARGE always misses")?;
        // SAFETY: class `LARGE` may be given any pointer, also null.
        let null = unsafe { self.front.push(Class::LARGE, null_mut()) };
        self.ensure(!null, "class LARGE misses with null, too")
    }
}

#[cfg(test)]
#[path = "front_end_tests.rs"]
mod tests;
