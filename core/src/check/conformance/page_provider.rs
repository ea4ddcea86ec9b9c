//! The suite for providers of pages.

use core::ptr::NonNull;

use super::{Failure, Report};
use crate::base::units::PAGE_SIZE;
use crate::provider::{Capabilities, Node, PageProvider, ProviderError, Reservation};

/// Reservations held at once, in machine pages.
const SIZES: [usize; 4] = [1, 5, 16, 2];

/// How often a page is reserved and released: more than a leak of a page each
/// time would let a small arena stand.
const ROUNDS: usize = if cfg!(miri) { 8 } else { 200 };

/// Every how many words memory is written and looked at, from the last on: all
/// of them, but in Miri.
const STRIDE: usize = if cfg!(miri) { 251 } else { 1 };

/// Machine pages that the checks of one range work on.
const RANGE: usize = 4;

/// Tests a provider against the implementor's duties of [`PageProvider`].
///
/// Needs a few dozen machine pages at most. A provider that cannot release
/// has lost them afterwards. Nobody else may use the provider meanwhile.
///
/// # Errors
///
/// The first duty that is not met; reservations made until then are lost.
pub fn page_provider<P: PageProvider>(provider: &P) -> Result<Report, Failure> {
    let mut suite = Suite {
        provider,
        report: Report::default(),
        page: provider.page_size(),
        can: provider.capabilities(),
    };
    suite.constants()?;
    suite.impossible_sizes()?;
    suite.several_reservations()?;
    suite.one_range()?;
    suite.release_gives_back()?;
    suite.impossible_sizes()?;
    suite.constants()?;
    Ok(suite.report)
}

struct Suite<'a, P> {
    provider: &'a P,
    report: Report,
    page: usize,
    can: Capabilities,
}

/// Committed memory of ours, written and read as words.
#[derive(Clone, Copy)]
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    fn words(self) -> impl Iterator<Item = NonNull<usize>> {
        let start = self.start.cast::<usize>();
        let words = self.bytes / size_of::<usize>();
        // SAFETY: the offsets stay inside the memory.
        (0..words).rev().step_by(STRIDE).map(move |at| unsafe { start.add(at) })
    }

    fn pattern(at: usize, seed: usize) -> usize {
        (at + 1).wrapping_mul(0x9e37_79b1).wrapping_add(seed)
    }

    /// Fills all of it with values that tell place and seed.
    fn fill(self, seed: usize) {
        for (at, word) in self.words().enumerate() {
            // SAFETY: committed, ours, aligned. Volatile: the suite is about
            // memory, not about what the compiler knows of it.
            unsafe { word.write_volatile(Self::pattern(at, seed)) };
        }
    }

    /// Whether all of it is as `fill` left it.
    fn holds(self, seed: usize) -> bool {
        // SAFETY: as in `fill`.
        self.words()
            .enumerate()
            .all(|(at, word)| unsafe { word.read_volatile() } == Self::pattern(at, seed))
    }

    fn is_zero(self) -> bool {
        // SAFETY: as in `fill`.
        self.words().all(|word| unsafe { word.read_volatile() } == 0)
    }

    fn part(self, from: usize, bytes: usize) -> Self {
        // SAFETY: callers stay inside the memory.
        Self { start: unsafe { self.start.add(from) }, bytes }
    }
}

impl<P: PageProvider> Suite<'_, P> {
    fn ensure(&mut self, holds: bool, duty: &'static str) -> Result<(), Failure> {
        self.report.ensure(holds, duty)
    }

    fn constants(&mut self) -> Result<(), Failure> {
        let page = self.page;
        self.ensure(page.is_power_of_two(), "the page size is a power of two")?;
        self.ensure(page >= PAGE_SIZE, "the page size is at least 4 KiB")?;
        self.ensure(self.provider.page_size() == page, "the page size is constant")?;
        self.ensure(self.provider.capabilities() == self.can, "the capabilities are constant")?;
        let suggested = self.provider.suggest(page, 0);
        self.ensure(suggested >= page, "suggest covers what is needed")?;
        let nodes = self.provider.nodes();
        self.ensure(nodes > 0, "there is a node")?;
        let refused = self.provider.reserve_on(Node(nodes), page).is_err();
        self.ensure(refused, "reserve_on refuses a node that does not exist")
    }

    fn impossible_sizes(&mut self) -> Result<(), Failure> {
        for bytes in [usize::MAX - (self.page - 1), usize::MAX / 2 + 1] {
            let refused = self.provider.reserve(bytes).is_err();
            self.ensure(refused, "reserve refuses impossible sizes")?;
        }
        Ok(())
    }

    fn reserve(&mut self, pages: usize) -> Result<Option<Reservation>, Failure> {
        self.reserved(pages, P::reserve)
    }

    /// What `reserve` hands out.
    fn reserved(
        &mut self,
        pages: usize,
        reserve: impl FnOnce(&P, usize) -> Result<Reservation, ProviderError>,
    ) -> Result<Option<Reservation>, Failure> {
        let bytes = pages * self.page;
        let Ok(reservation) = reserve(self.provider, bytes) else { return Ok(None) };
        let start = reservation.start.addr().get();
        self.ensure(reservation.bytes >= bytes, "reserve hands out what was asked for")?;
        self.ensure(
            start.is_multiple_of(self.page) && reservation.bytes.is_multiple_of(self.page),
            "reservations start and end at pages",
        )?;
        let last = start.checked_add(reservation.bytes - 1);
        self.ensure(last.is_some(), "a reservation does not wrap around")?;
        Ok(Some(reservation))
    }

    /// The first `pages` of a reservation, usable.
    fn usable(&mut self, of: Reservation, pages: usize) -> Result<Memory, Failure> {
        let memory = Memory { start: of.start, bytes: (pages * self.page).min(of.bytes) };
        if self.can.contains(Capabilities::COMMIT) {
            // SAFETY: inside the reservation, in pages.
            let committed = unsafe { self.provider.commit(memory.start, memory.bytes) };
            self.ensure(committed.is_ok(), "commit of a few pages succeeds")?;
        }
        if self.can.contains(Capabilities::FRESH_IS_ZERO) {
            self.ensure(memory.is_zero(), "FRESH_IS_ZERO: memory is zero when first committed")?;
        }
        Ok(memory)
    }

    fn release(&mut self, reservation: Reservation) -> Result<(), Failure> {
        if self.can.contains(Capabilities::RELEASE) {
            // SAFETY: from `reserve`, once, unused.
            let released = unsafe { self.provider.release(reservation) };
            self.ensure(released.is_ok(), "RELEASE: a reservation is taken back")?;
        }
        Ok(())
    }

    /// Several at once, of the first nodes in turn: disjoint, each with contents of its own.
    fn several_reservations(&mut self) -> Result<(), Failure> {
        let mut held = [None; SIZES.len()];
        for (number, pages) in SIZES.into_iter().enumerate() {
            let reserved = match (number as u16).checked_sub(1) {
                None => self.reserve(pages)?,
                Some(turn) => {
                    let node = Node(turn % self.provider.nodes());
                    self.reserved(pages, |provider, bytes| provider.reserve_on(node, bytes))?
                }
            };
            let Some(reservation) = reserved else {
                self.ensure(number > 0, "reserve hands out a page")?;
                self.report.refusals += 1;
                break;
            };
            let (start, end) = ends(reservation);
            let disjoint = held.iter().flatten().all(|(other, _)| {
                let (from, to) = ends(*other);
                end < from || to < start
            });
            self.ensure(disjoint, "reservations do not overlap")?;
            let memory = self.usable(reservation, pages)?;
            memory.fill(number);
            held[number] = Some((reservation, memory));
        }
        let intact = held
            .iter()
            .enumerate()
            .all(|(number, entry)| entry.is_none_or(|(_, memory)| memory.holds(number)));
        self.ensure(intact, "a reservation is in nobody else's use")?;
        // Not in the order they came in.
        for (reservation, _) in held.into_iter().rev().flatten() {
            self.release(reservation)?;
        }
        Ok(())
    }

    /// Commit, purge, remap and hints inside one reservation.
    fn one_range(&mut self) -> Result<(), Failure> {
        let Some(reservation) = self.reserve(2 * RANGE)? else {
            self.report.refusals += 1;
            return Ok(());
        };
        let all = self.usable(reservation, 2 * RANGE)?;
        let half = all.bytes / 2;
        let (low, high) = (all.part(0, half), all.part(half, half));
        low.fill(1);
        high.fill(2);
        if self.can.contains(Capabilities::COMMIT) {
            // SAFETY: inside the reservation, in pages.
            let again = unsafe { self.provider.commit(all.start, all.bytes) };
            self.ensure(again.is_ok(), "committing twice is allowed")?;
            let kept = low.holds(1) && high.holds(2);
            self.ensure(kept, "committing twice keeps the contents")?;
        }
        if self.can.contains(Capabilities::HUGE) {
            // SAFETY: committed, in pages.
            unsafe {
                self.provider.refuse_huge(all.start, all.bytes);
                self.provider.advise_huge(all.start, all.bytes);
            }
            self.ensure(low.holds(1) && high.holds(2), "HUGE: a hint keeps the contents")?;
        }
        // SAFETY: committed, in pages.
        let resident = unsafe { self.provider.resident(high.start, high.bytes) };
        self.ensure(resident == high.bytes, "what was written is resident")?;
        let node = self.provider.node(all.start.as_ptr());
        let same = self.provider.node(all.start.as_ptr()) == node;
        self.ensure(same, "memory stays on its node")?;
        self.protect(low, high)?;
        self.purge(low, high)?;
        self.remap(low, high)?;
        self.release(reservation)
    }

    /// Protects `low`, which is full of seed 1, beside `high`, full of seed 2.
    /// That an access faults cannot be tested here.
    fn protect(&mut self, low: Memory, high: Memory) -> Result<(), Failure> {
        if !self.can.contains(Capabilities::PROTECT) {
            return Ok(());
        }
        // SAFETY: committed, in pages, accessed by nobody until it is undone.
        let protected = unsafe {
            let twice = [(); 2].map(|()| self.provider.protect(low.start, low.bytes).is_ok());
            twice == [true; 2]
        };
        self.report.refusals += u32::from(!protected);
        self.ensure(high.holds(2), "protect leaves the neighbours alone")?;
        high.fill(2);
        // SAFETY: committed, in pages; the second page alone, then all.
        let open = unsafe {
            self.provider.unprotect(low.part(self.page, self.page).start, self.page).is_ok()
                && self.provider.unprotect(low.start, low.bytes).is_ok()
        };
        self.ensure(open, "PROTECT: what was protected can be had again")?;
        self.ensure(low.holds(1), "PROTECT: protected memory keeps its contents")?;
        low.fill(1);
        self.ensure(low.holds(1), "PROTECT: memory is writable again")
    }

    /// Purges `low`, which is full of seed 1, beside `high`, full of seed 2.
    fn purge(&mut self, low: Memory, high: Memory) -> Result<(), Failure> {
        if !self.can.contains(Capabilities::PURGE) {
            return Ok(());
        }
        // SAFETY: committed, in pages, the contents nobody's.
        let purged = unsafe { self.provider.purge(low.start, low.bytes) };
        if purged.is_err() {
            self.report.refusals += 1;
            self.ensure(low.holds(1), "a refused purge changes nothing")?;
        } else if self.can.contains(Capabilities::PURGE_ZEROES) {
            self.ensure(low.is_zero(), "PURGE_ZEROES: memory is zero after purge")?;
        }
        self.ensure(high.holds(2), "purge leaves the neighbours alone")?;
        low.fill(1);
        self.ensure(low.holds(1), "purged memory stays committed")
    }

    /// Moves `low`, full of seed 1, to `high`, full of seed 2.
    fn remap(&mut self, low: Memory, high: Memory) -> Result<(), Failure> {
        if !self.can.contains(Capabilities::REMAP) {
            return Ok(());
        }
        // One page less than there is: the last ones must stay.
        let bytes = low.bytes - self.page;
        let (from, to) = (low.part(0, bytes), high.part(0, bytes));
        from.fill(3);
        let (low_rest, high_rest) = (low.part(bytes, self.page), high.part(bytes, self.page));
        low_rest.fill(4);
        high_rest.fill(5);
        // SAFETY: committed, in pages, disjoint, used by nobody else.
        let moved = unsafe { self.provider.remap(from.start, to.start, bytes) };
        if moved.is_err() {
            self.report.refusals += 1;
            self.ensure(from.holds(3), "a refused remap moves nothing")?;
        } else {
            self.ensure(to.holds(3), "REMAP: contents move")?;
            self.ensure(from.is_zero(), "REMAP: the old range becomes zero")?;
            from.fill(6);
            to.fill(7);
            let usable = from.holds(6) && to.holds(7);
            self.ensure(usable, "REMAP: both ranges stay committed, and apart")?;
        }
        let rests = low_rest.holds(4) && high_rest.holds(5);
        self.ensure(rests, "remap leaves the neighbours alone")
    }

    /// What was released can be had again, any number of times.
    fn release_gives_back(&mut self) -> Result<(), Failure> {
        if !self.can.contains(Capabilities::RELEASE) {
            return Ok(());
        }
        for round in 0..ROUNDS {
            let Some(reservation) = self.reserve(1)? else {
                return self.ensure(false, "RELEASE: what was released can be had again");
            };
            let memory = self.usable(reservation, 1)?;
            memory.fill(round);
            self.ensure(memory.holds(round), "memory holds what is written")?;
            self.release(reservation)?;
        }
        Ok(())
    }
}

/// First and last address.
fn ends(of: Reservation) -> (usize, usize) {
    let start = of.start.addr().get();
    (start, start + (of.bytes - 1))
}

#[cfg(test)]
#[path = "page_provider_tests.rs"]
mod tests;
