//! A provider for tests: it keeps the implementor's duties, holds the heap to
//! the caller's, and can be told to refuse.

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::vec::Vec;

use super::page_flags::PageFlags;
use crate::base::bytes::is_all;
use crate::provider::{Capabilities, PageProvider, ProviderError, Reservation};

/// What memory that is not committed looks like, and the pages around a
/// reservation: a write there is noticed at release.
const OUTSIDE: u8 = 0xa5;
/// What fresh or purged memory looks like that need not be zero.
const GARBAGE: u8 = 0xdb;

/// Which calls are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refuse {
    #[default]
    Nothing,
    /// Every commit.
    Commit,
    /// Every commit of more than one page.
    CommitOverPage,
    /// Every release.
    Release,
    /// Every purge.
    Purge,
    /// The call with this number, from 0, counted from when it was said.
    Call(usize),
    /// That call and all after it.
    FromCall(usize),
}

/// What may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Reserve,
    Commit,
    Purge,
    Release,
    Protect,
    Unprotect,
    Remap,
}

/// Memory of the host's allocator.
pub(crate) struct Arena {
    page: usize,
    can: Capabilities,
    limit: usize,
    /// What it suggests at least.
    step: usize,
    /// One page in so many is said to be resident.
    sparse: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    refuse: Refuse,
    purged: usize,
    purges: Vec<(usize, usize)>,
    advised: usize,
    refused: usize,
    reserves: usize,
    asked: usize,
    calls: usize,
    /// Which kinds were among them, bits.
    kinds: u32,
}

struct Held {
    reservation: Reservation,
    memory: NonNull<u8>,
    layout: Layout,
    committed: PageFlags,
    /// Committed at any time.
    ever: PageFlags,
    /// The contents of protected pages, by their number.
    hidden: BTreeMap<usize, Vec<u8>>,
}

// SAFETY: the memory is the arena's own, under the lock.
unsafe impl Send for Held {}

impl Arena {
    /// Hands out up to `limit` bytes in pages of `page` bytes.
    pub(crate) fn new(page: usize, can: Capabilities, limit: usize) -> Self {
        Self { page, can, limit, step: 0, sparse: AtomicUsize::new(1), state: Mutex::default() }
    }

    /// Suggests at least `step` bytes, so that there are fewer regions.
    pub(crate) fn in_steps_of(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// Says from now on that one page in so many is resident.
    pub(crate) fn say_resident(&self, one_in: usize) {
        self.sparse.store(one_in, Relaxed);
    }

    /// What to refuse from now on.
    pub(crate) fn refuse(&self, refuse: Refuse) {
        let mut state = self.state();
        (state.refuse, state.calls, state.kinds) = (refuse, 0, 0);
    }

    /// Calls that may be refused, since [`refuse`](Self::refuse).
    pub(crate) fn calls(&self) -> usize {
        self.state().calls
    }

    /// Which of these were not called since [`refuse`](Self::refuse).
    pub(crate) fn not_called(&self, calls: &[Call]) -> Vec<Call> {
        let kinds = self.state().kinds;
        calls.iter().copied().filter(|&call| kinds & 1 << call as u32 == 0).collect()
    }

    /// Bytes handed out and not taken back.
    pub(crate) fn reserved(&self) -> usize {
        self.state().held.iter().map(|held| held.reservation.bytes).sum()
    }

    /// Whether an address lies in something handed out.
    pub(crate) fn has(&self, address: *const u8) -> bool {
        self.state().held.iter().any(|held| {
            let Reservation { start, bytes } = held.reservation;
            address.addr().wrapping_sub(start.addr().get()) < bytes
        })
    }

    /// Calls of `reserve` that were granted.
    pub(crate) fn reserves(&self) -> usize {
        self.state().reserves
    }

    /// All calls of `reserve`.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    /// Bytes for which huge pages were said not to be.
    pub(crate) fn refused_huge(&self) -> usize {
        self.state().refused
    }

    /// The purges since this was last asked: first address and bytes.
    pub(crate) fn take_purges(&self) -> Vec<(usize, usize)> {
        core::mem::take(&mut self.state().purges)
    }

    /// Bytes for which huge pages were said to be welcome.
    pub(crate) fn advised(&self) -> usize {
        self.state().advised
    }

    /// Bytes ever purged.
    pub(crate) fn purged(&self) -> usize {
        self.state().purged
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn fresh(&self) -> u8 {
        if self.can.contains(Capabilities::FRESH_IS_ZERO) { 0 } else { GARBAGE }
    }

    fn needs(&self, flag: Capabilities) {
        assert!(self.can.contains(flag), "called without {flag:?}");
    }
}

impl State {
    /// Counts a call; whether it is refused by its number.
    fn refuses(&mut self, call: Call) -> bool {
        let number = self.calls;
        self.calls += 1;
        self.kinds |= 1 << call as u32;
        match self.refuse {
            Refuse::Call(refused) => number == refused,
            Refuse::FromCall(first) => number >= first,
            _ => false,
        }
    }

    /// The reservation around a range that keeps the caller's duties, and the
    /// range in pages.
    fn range(
        &mut self,
        page: usize,
        start: NonNull<u8>,
        bytes: usize,
    ) -> (&mut Held, Range<usize>) {
        let address = start.addr().get();
        assert!(bytes > 0 && address.is_multiple_of(page) && bytes.is_multiple_of(page), "pages");
        let held = self.held.iter_mut().find(|held| {
            let first = held.reservation.start.addr().get();
            first <= address && address + bytes <= first + held.reservation.bytes
        });
        let held = held.expect("inside one reservation");
        let first = (address - held.reservation.start.addr().get()) / page;
        (held, first..first + bytes / page)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for held in self.state().held.drain(..) {
            // SAFETY: allocated with this layout in `reserve`.
            unsafe { std::alloc::dealloc(held.memory.as_ptr(), held.layout) };
        }
    }
}

// SAFETY: the host's allocator hands out memory that nobody has; it is not
// the heap under test.
unsafe impl PageProvider for Arena {
    fn page_size(&self) -> usize {
        self.page
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed.max(self.step)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        assert!(bytes > 0 && bytes.is_multiple_of(self.page), "whole pages");
        self.state().asked += 1;
        let held: usize = self.reserved();
        if self.state().refuses(Call::Reserve)
            || held.checked_add(bytes).is_none_or(|sum| sum > self.limit)
        {
            return Err(ProviderError);
        }
        let layout = Layout::from_size_align(bytes + 2 * self.page, self.page);
        let layout = layout.map_err(|_| ProviderError)?;
        // SAFETY: not empty; everything is inside what is allocated.
        let (memory, start) = unsafe {
            let memory = NonNull::new(std::alloc::alloc(layout)).ok_or(ProviderError)?;
            memory.write_bytes(OUTSIDE, layout.size());
            (memory, memory.add(self.page))
        };
        let lazy = self.can.contains(Capabilities::COMMIT);
        if !lazy {
            // SAFETY: as above.
            unsafe { start.write_bytes(self.fresh(), bytes) };
        }
        let reservation = Reservation { start, bytes };
        let [committed, ever] = [(); 2].map(|()| PageFlags::new(bytes / self.page, !lazy));
        let hidden = BTreeMap::new();
        let mut state = self.state();
        state.reserves += 1;
        state.held.push(Held { reservation, memory, layout, committed, ever, hidden });
        Ok(reservation)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.needs(Capabilities::COMMIT);
        let mut state = self.state();
        let refuse = state.refuses(Call::Commit)
            || state.refuse == Refuse::Commit
            || state.refuse == Refuse::CommitOverPage && bytes > self.page;
        let (held, pages) = state.range(self.page, start, bytes);
        if refuse {
            return Err(ProviderError);
        }
        held.ever.unset(pages.clone(), &mut |fresh| {
            // SAFETY: pages of the reservation.
            unsafe {
                let at = held.reservation.start.add(fresh.start * self.page);
                at.write_bytes(self.fresh(), fresh.len() * self.page);
            }
        });
        held.committed.set(pages.clone());
        held.ever.set(pages);
        Ok(())
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.needs(Capabilities::PURGE);
        let mut state = self.state();
        let refuse = state.refuses(Call::Purge) || state.refuse == Refuse::Purge;
        let (held, pages) = state.range(self.page, start, bytes);
        assert!(held.committed.all(pages.clone()), "committed");
        assert!(held.hidden.range(pages).next().is_none(), "purged while protected");
        if refuse {
            return Err(ProviderError);
        }
        let zeroes = self.can.contains(Capabilities::PURGE_ZEROES);
        // SAFETY: inside a reservation; the caller gave the contents up.
        unsafe { start.write_bytes(if zeroes { 0 } else { GARBAGE }, bytes) };
        state.purged += bytes;
        state.purges.push((start.addr().get(), bytes));
        Ok(())
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        self.needs(Capabilities::RELEASE);
        let mut state = self.state();
        let at = state.held.iter().position(|held| held.reservation == reservation);
        let at = at.expect("exactly what was reserved, once");
        if state.refuses(Call::Release) || state.refuse == Refuse::Release {
            return Err(ProviderError);
        }
        let held = state.held.swap_remove(at);
        held.ever.unset(0..reservation.bytes / self.page, &mut |never| {
            // SAFETY: pages of the reservation.
            let at = unsafe { held.reservation.start.add(never.start * self.page) };
            assert!(is_untouched(at, never.len() * self.page), "not committed, yet written");
        });
        assert!(is_untouched(held.memory, self.page), "the page before");
        // SAFETY: the page behind the reservation is allocated, too.
        let behind = unsafe { held.reservation.start.add(reservation.bytes) };
        assert!(is_untouched(behind, self.page), "the page behind");
        // SAFETY: allocated with this layout in `reserve`.
        unsafe { std::alloc::dealloc(held.memory.as_ptr(), held.layout) };
        Ok(())
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.needs(Capabilities::PROTECT);
        let mut state = self.state();
        let refuse = state.refuses(Call::Protect);
        let (held, pages) = state.range(self.page, start, bytes);
        assert!(held.committed.all(pages.clone()), "committed");
        if refuse {
            return Err(ProviderError);
        }
        for page in pages {
            if held.hidden.contains_key(&page) {
                continue;
            }
            // SAFETY: a page of the reservation, which nobody accesses.
            let contents = unsafe {
                let at = held.reservation.start.add(page * self.page);
                std::slice::from_raw_parts_mut(at.as_ptr(), self.page)
            };
            held.hidden.insert(page, contents.to_vec());
            contents.fill(OUTSIDE);
        }
        Ok(())
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.needs(Capabilities::PROTECT);
        let mut state = self.state();
        let refuse = state.refuses(Call::Unprotect);
        let (held, pages) = state.range(self.page, start, bytes);
        if refuse {
            return Err(ProviderError);
        }
        for page in pages {
            let Some(contents) = held.hidden.remove(&page) else { continue };
            // SAFETY: a page of the reservation, which nobody accesses yet.
            unsafe {
                let at = held.reservation.start.add(page * self.page);
                assert!(is_untouched(at, self.page), "written while it was protected");
                at.copy_from_nonoverlapping(NonNull::from(&contents[..]).cast(), self.page);
            }
        }
        Ok(())
    }

    unsafe fn resident(&self, _start: NonNull<u8>, bytes: usize) -> usize {
        bytes / self.sparse.load(Relaxed)
    }

    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        self.needs(Capabilities::HUGE);
        let mut state = self.state();
        state.range(self.page, start, bytes);
        state.refused += bytes;
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        self.needs(Capabilities::HUGE);
        let mut state = self.state();
        let (held, pages) = state.range(self.page, start, bytes);
        assert!(held.committed.all(pages), "committed");
        state.advised += bytes;
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        self.needs(Capabilities::REMAP);
        let mut state = self.state();
        for start in [from, to] {
            let (held, pages) = state.range(self.page, start, bytes);
            assert!(held.committed.all(pages), "committed");
        }
        assert!(from.addr().get().abs_diff(to.addr().get()) >= bytes, "disjoint");
        if state.refuses(Call::Remap) {
            return Err(ProviderError);
        }
        // SAFETY: both inside reservations, committed, disjoint.
        unsafe {
            to.copy_from_nonoverlapping(from, bytes);
            from.write_bytes(0, bytes);
        }
        Ok(())
    }
}

fn is_untouched(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: callers pass memory of the arena's.
    let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes) };
    is_all(bytes, OUTSIDE)
}
