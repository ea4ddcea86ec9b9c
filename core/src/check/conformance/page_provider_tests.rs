//! The suite passes providers that conform, and names what others break.

use core::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use super::{Failure, Report};
use super::{ROUNDS, page_provider};
use crate::check::arena::Arena;
use crate::provider::{Capabilities, Node, PageProvider, ProviderError, Reservation};

#[test]
fn providers_of_every_kind_conform() {
    let mut checks = std::collections::BTreeSet::new();
    for page in [4096, 16 << 10, 64 << 10] {
        for can in [
            Capabilities::all(),
            Capabilities::empty(),
            Capabilities::all() - Capabilities::COMMIT,
            Capabilities::all() - Capabilities::FRESH_IS_ZERO - Capabilities::PURGE_ZEROES,
            Capabilities::RELEASE,
            Capabilities::FRESH_IS_ZERO,
        ] {
            let report = page_provider(&Arena::new(page, can, 8 << 20)).expect("conforms");
            assert_eq!(report.refusals, 0, "{can:?}");
            checks.insert((report.checks, can.bits()));
        }
    }
    assert_eq!(checks.len(), 6, "the checks depend on what a provider can do alone");
}

#[test]
fn a_small_arena_conforms_with_refusals() {
    // Room for the first reservation alone.
    let arena = Arena::new(4096, Capabilities::RELEASE, 4096);
    assert_eq!(page_provider(&arena).expect("conforms").refusals, 2);
    assert_eq!(arena.reserved(), 0);
}

/// How a provider breaks a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    PageSize,
    GrowingPage,
    Capabilities,
    Overlap,
    OverlapOfNodes,
    Misaligned,
    Short,
    AnySize,
    NotZero,
    CommitZeroes,
    PurgeKeeps,
    PurgeSpills,
    RemapCopies,
    RemapForgets,
    LeaksOnRelease,
    HintErases,
    ProtectErases,
    ProtectSpills,
    StaysProtected,
}

struct Liar {
    lie: Lie,
    arena: Arena,
    calls: AtomicUsize,
    /// What [`Lie::Overlap`] and [`Lie::OverlapOfNodes`] hand out again.
    again: AtomicPtr<u8>,
}

impl Liar {
    fn lies(&self, lie: Lie) -> bool {
        self.lie == lie
    }
}

// SAFETY: it is not: the suite under test must find out. What it hands out
// stays inside the arena's reservations.
unsafe impl PageProvider for Liar {
    fn page_size(&self) -> usize {
        match self.lie {
            Lie::PageSize => 5000,
            Lie::GrowingPage => 4096 << self.calls.fetch_add(1, Relaxed).min(1),
            _ => 4096,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let all = Capabilities::all();
        let later = self.lies(Lie::Capabilities) && self.calls.fetch_add(1, Relaxed) > 0;
        if later { all - Capabilities::PURGE } else { all }
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        let once = self.calls.fetch_add(1, Relaxed);
        if bytes > usize::MAX / 4 {
            let got = self.arena.reserve(4096)?;
            return if self.lies(Lie::AnySize) {
                Ok(Reservation { bytes, ..got })
            } else {
                Err(ProviderError)
            };
        }
        if self.lies(Lie::LeaksOnRelease) && once > ROUNDS / 2 {
            return Err(ProviderError);
        }
        let mut got = self.arena.reserve(bytes + (64 << 10))?;
        match self.lie {
            // SAFETY: 64 KiB more were reserved.
            Lie::Misaligned => got.start = unsafe { got.start.add(64) },
            Lie::Short => got.bytes = bytes - 4096,
            Lie::Overlap => {
                let null = core::ptr::null_mut();
                let first = self.again.compare_exchange(null, got.start.as_ptr(), Relaxed, Relaxed);
                let first = first.err().and_then(NonNull::new);
                got = Reservation { start: first.unwrap_or(got.start), bytes };
            }
            Lie::OverlapOfNodes => self.again.store(got.start.as_ptr(), Relaxed),
            _ => {}
        }
        Ok(got)
    }

    fn nodes(&self) -> u16 {
        if self.lies(Lie::OverlapOfNodes) { 2 } else { 1 }
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        match node {
            Node(0) => self.reserve(bytes),
            Node(1) if self.lies(Lie::OverlapOfNodes) => {
                // What was handed out last has room behind it.
                let last = NonNull::new(self.again.load(Relaxed)).ok_or(ProviderError)?;
                Ok(Reservation { start: last, bytes })
            }
            _ => Err(ProviderError),
        }
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let aligned = start.addr().get() & !4095;
        let start = start.map_addr(|_| aligned.try_into().unwrap_or(start.addr()));
        // SAFETY: as the caller's, inside the arena's reservation.
        unsafe { self.arena.commit(start, bytes) }?;
        match self.lie {
            // SAFETY: just committed.
            Lie::NotZero => unsafe { start.add(bytes - 1).write(1) },
            // SAFETY: just committed.
            Lie::CommitZeroes => unsafe { start.write_bytes(0, bytes) },
            _ => {}
        }
        Ok(())
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        match self.lie {
            Lie::PurgeKeeps => Ok(()),
            // SAFETY: the arena's reservations are larger than asked for.
            Lie::PurgeSpills => unsafe { self.arena.purge(start, bytes + 4096) },
            // SAFETY: as the caller's.
            _ => unsafe { self.arena.purge(start, bytes) },
        }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        if self.lies(Lie::Overlap) || self.lies(Lie::LeaksOnRelease) {
            return Ok(());
        }
        // SAFETY: as the caller's.
        unsafe { self.arena.release(reservation) }
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        match self.lie {
            // SAFETY: the caller's ranges are committed and disjoint.
            Lie::RemapCopies => unsafe { to.copy_from_nonoverlapping(from, bytes) },
            // SAFETY: as above.
            Lie::RemapForgets => unsafe { from.write_bytes(0, bytes) },
            // SAFETY: as the caller's.
            _ => return unsafe { self.arena.remap(from, to, bytes) },
        }
        Ok(())
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        match self.lie {
            // SAFETY: the caller's range is committed.
            Lie::ProtectErases => unsafe { start.write_bytes(0, bytes) },
            // SAFETY: the arena's reservations are larger than asked for.
            Lie::ProtectSpills => unsafe { self.arena.protect(start, bytes + 4096)? },
            // SAFETY: as the caller's.
            _ => unsafe { self.arena.protect(start, bytes)? },
        }
        Ok(())
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        if self.lies(Lie::StaysProtected) {
            return Ok(());
        }
        // SAFETY: as the caller's.
        unsafe { self.arena.unprotect(start, bytes) }
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        if self.lies(Lie::HintErases) {
            // SAFETY: the caller's range is committed.
            unsafe { start.write_bytes(0, bytes) };
        }
    }
}

#[test]
fn every_broken_promise_of_a_provider_is_named() {
    for (lie, duty) in [
        (Lie::PageSize, "the page size is a power of two"),
        (Lie::GrowingPage, "the page size is constant"),
        (Lie::Capabilities, "the capabilities are constant"),
        (Lie::Overlap, "reservations do not overlap"),
        (Lie::OverlapOfNodes, "reservations do not overlap"),
        (Lie::Misaligned, "reservations start and end at pages"),
        (Lie::Short, "reserve hands out what was asked for"),
        (Lie::AnySize, "reserve refuses impossible sizes"),
        (Lie::NotZero, "FRESH_IS_ZERO: memory is zero when first committed"),
        (Lie::CommitZeroes, "committing twice keeps the contents"),
        (Lie::PurgeKeeps, "PURGE_ZEROES: memory is zero after purge"),
        (Lie::PurgeSpills, "purge leaves the neighbours alone"),
        (Lie::RemapCopies, "REMAP: the old range becomes zero"),
        (Lie::RemapForgets, "REMAP: contents move"),
        (Lie::LeaksOnRelease, "RELEASE: what was released can be had again"),
        (Lie::HintErases, "HUGE: a hint keeps the contents"),
        (Lie::ProtectErases, "PROTECT: protected memory keeps its contents"),
        (Lie::ProtectSpills, "protect leaves the neighbours alone"),
        (Lie::StaysProtected, "PROTECT: protected memory keeps its contents"),
    ] {
        let arena = Arena::new(4096, Capabilities::all(), 64 << 20);
        let liar = Liar { lie, arena, calls: AtomicUsize::new(0), again: AtomicPtr::default() };
        assert_eq!(page_provider(&liar).expect_err("a lie").duty(), duty, "{lie:?}");
    }
}

#[test]
fn a_failure_says_what_does_not_hold() {
    let failure = Report::default().ensure(false, "the sky is above").expect_err("false");
    assert_eq!(std::format!("{failure}"), "does not hold: the sky is above");
    assert_eq!(failure, Failure { duty: "the sky is above" });
}
