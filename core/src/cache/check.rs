//! The walk over what is cached: each object and run in one place alone.
//!
//! There is no memory to note down all that was seen. So a class is walked as
//! often as it takes for a window of addresses, which a small bitmap covers, to
//! pass all that is cached of it, from the lowest address to the highest.

use core::ptr::{NonNull, without_provenance_mut};

use super::sheaf::Word;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::base::units::PAGE_SIZE;
use crate::base::violation::Violation;

/// Words of the bitmap: 2 KiB, for kernels' stacks are small.
const WORDS: usize = 2048 / size_of::<usize>();
const WORD: usize = usize::BITS as usize;

/// What was cached of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub objects: usize,
    pub bytes: usize,
}

/// A window of addresses.
struct Window {
    start: usize,
    /// What all objects of the class are aligned to: one bit.
    step: usize,
    seen: [usize; WORDS],
    /// Words that anything was noted in: the rest need not be looked at.
    used: usize,
}

/// Two pointers to one object.
struct Twice;

impl Window {
    fn new(start: usize, step: usize) -> Self {
        Self { start, step, seen: [0; WORDS], used: 0 }
    }

    /// Notes an address if it lies in the window.
    fn note(&mut self, address: usize) -> Result<(), Twice> {
        let Some(offset) = address.checked_sub(self.start) else { return Ok(()) };
        let bit = offset / self.step;
        let Some(word) = self.seen.get_mut(bit / WORD) else { return Ok(()) };
        let before = *word;
        *word |= 1 << (bit % WORD);
        self.used = self.used.max(bit / WORD + 1);
        if *word == before { Err(Twice) } else { Ok(()) }
    }

    /// Whether an address lies above the window.
    fn is_below(&self, address: usize) -> bool {
        address > self.start && (address - self.start) / self.step >= WORDS * WORD
    }

    /// The addresses noted.
    fn addresses(&self) -> impl Iterator<Item = usize> {
        self.seen[..self.used].iter().enumerate().flat_map(move |(number, &word)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then_some(rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(self.start + (number * WORD + bit) * self.step)
            })
        })
    }
}

impl<C: Config> Cache<C> {
    /// Shows the address of every object of a class that is in a sheaf: of a
    /// slot, its stash, the depot. Under their locks, so `show` takes none.
    fn each_cached(&self, class: Class, mut show: impl FnMut(usize)) {
        for slot in self.registry.slots() {
            slot.tops().observe(class).each(|object| show(object.addr().get()));
        }
        if !class.is_small() {
            return;
        }
        let mut sheaf = |objects: &[Word]| {
            objects.iter().for_each(|object| show(object.load(Relaxed).addr()));
        };
        for slot in self.registry.slots() {
            slot.stash.lock().each_full(class, &mut sheaf);
        }
        self.depots.all().for_each(|(_, depot)| depot.each_full(class, &mut sheaf));
    }

    /// Verifies C1 of a class, at rest: that nothing is cached twice; and
    /// shows each object, of which nothing but the address may be used, to
    /// `verify`, with no lock held.
    pub(crate) fn check_class(
        &self,
        class: Class,
        mut verify: impl FnMut(NonNull<u8>) -> Result<(), Violation>,
    ) -> Result<Count, Violation> {
        let step = if class.is_small() { class.natural_align() } else { PAGE_SIZE };
        let mut objects = 0;
        let (mut next, mut odd) = (usize::MAX, None);
        self.each_cached(class, |address| {
            objects += 1;
            next = next.min(address);
            odd = odd.or((!address.is_multiple_of(step)).then_some(address));
        });
        let aligned = "a cached object that is not aligned as its class";
        Violation::unless(odd.is_none(), "C1", aligned, odd.unwrap_or_default())?;
        while next != usize::MAX {
            let mut window = Window::new(next, step);
            let mut twice = None;
            next = usize::MAX;
            self.each_cached(class, |address| {
                if window.is_below(address) {
                    next = next.min(address);
                } else if window.note(address).is_err() {
                    twice = Some(address);
                }
            });
            let found = "an object that is cached twice";
            Violation::unless(twice.is_none(), "C1", found, twice.unwrap_or_default())?;
            let each = window.addresses().filter_map(|at| NonNull::new(without_provenance_mut(at)));
            each.into_iter().try_for_each(&mut verify)?;
        }
        Ok(Count { objects, bytes: objects * class.size() })
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
