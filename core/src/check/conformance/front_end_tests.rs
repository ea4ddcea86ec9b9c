//! The suite passes front ends that conform, and names what others break.

use super::{Bench, front_end};
use crate::base::class::Class;
use crate::cache::guarded::Guarded;
use crate::cache::sheaf::Top;
use crate::cache::slot::Slot;
use crate::cache::{Current, FrontEnd};
use crate::check::surroundings::{TestCpu, TestEnv, for_ever, migrate};

type Portable = Guarded<TestCpu, TestEnv, 2>;

fn bench() -> &'static mut Bench<TestEnv> {
    for_ever(Bench::default())
}

#[test]
fn the_portable_front_end_conforms_on_every_cpu() {
    let front = Portable::new();
    let reports = [0, 1].map(|cpu| {
        migrate(cpu);
        front_end(&front, bench()).expect("conforms")
    });
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0].refusals, 0, "it can be stopped");
    // A CPU beyond the array has no cache.
    migrate(2);
    let failure = front_end(&front, bench()).expect_err("no cache");
    assert_eq!(failure.duty(), "a CPU without a cache is absent");
}

/// How a front end breaks a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TakesSecondSlot,
    SwapsAnything,
    ServesLarge,
    SharesClasses,
    WorksWhenStopped,
    NeverRestarts,
    OverwritesFull,
    FirstInFirstOut,
}

struct Faulty {
    fault: Fault,
    front: Portable,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

// SAFETY: it is not: the suite under test must find out. One thread uses it,
// and nothing is made of the objects it hands out.
unsafe impl FrontEnd<TestEnv> for Faulty {
    fn pop(&self, class: Class) -> *mut u8 {
        if self.has(Fault::FirstInFirstOut)
            && let Current::Slot(slot) = self.front.current()
            && !slot.tops().get(class).is_empty()
        {
            let last = self.front.pop(class);
            let before = self.front.pop(class);
            if before.is_null() {
                return last;
            }
            // SAFETY: just popped.
            unsafe { self.front.push(class, last) };
            return before;
        }
        let other = Class::from_index(class.index() as u8 % 44 + 1);
        let hit = self.front.pop(class);
        if hit.is_null() && self.has(Fault::SharesClasses) { self.front.pop(other) } else { hit }
    }

    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        let small = class.is_small();
        // SAFETY: as the caller's.
        let pushed = unsafe { self.front.push(class, object) };
        let full = matches!(self.front.current(), Current::Slot(slot)
            if small && !slot.tops().get(class).is_sentinel() && object.addr().is_multiple_of(2));
        pushed || self.has(Fault::ServesLarge) && !small || self.has(Fault::OverwritesFull) && full
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let expected = match self.front.current() {
            Current::Slot(slot) if self.has(Fault::SwapsAnything) => slot.tops().get(class),
            _ => expected,
        };
        // SAFETY: as the caller's.
        unsafe { self.front.swap(class, expected, new) }
    }

    fn current(&self) -> Current<'_, TestEnv> {
        self.front.current()
    }

    fn attach(&self, slot: &'static Slot<TestEnv>) -> bool {
        self.front.attach(slot) || self.has(Fault::TakesSecondSlot)
    }

    fn stop(&self, slot: &Slot<TestEnv>) -> bool {
        let real = self.front.stop(slot);
        if real && self.has(Fault::WorksWhenStopped) {
            self.front.restart(slot);
        }
        real
    }

    fn restart(&self, slot: &Slot<TestEnv>) {
        if !self.has(Fault::NeverRestarts) {
            self.front.restart(slot);
        }
    }
}

#[test]
fn every_broken_promise_of_a_front_end_is_named() {
    migrate(0);
    for (fault, duty) in [
        (Fault::TakesSecondSlot, "a CPU with a slot takes no other"),
        (Fault::SwapsAnything, "an empty slot misses in every class"),
        (Fault::ServesLarge, "class LARGE always misses"),
        (Fault::SharesClasses, "an object comes back in its own class only"),
        (Fault::WorksWhenStopped, "a stopped CPU misses"),
        (Fault::NeverRestarts, "a restarted CPU has its slot again"),
        (Fault::OverwritesFull, "a full sheaf misses on push"),
        (Fault::FirstInFirstOut, "pop returns what was pushed last"),
    ] {
        let faulty = Faulty { fault, front: Portable::new() };
        let failure = front_end(&faulty, bench()).expect_err("a fault");
        assert_eq!(failure.duty(), duty, "{fault:?}");
    }
}
