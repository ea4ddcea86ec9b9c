//! Pages from `mmap`.
//!
//! Address space is reserved without access (`PROT_NONE`), which costs no memory
//! under any overcommit policy and is left out of core dumps. `mlockall` counts it,
//! though it has nothing to lock there: where locked memory is limited
//! (`RLIMIT_MEMLOCK`) it refuses the process. Commit is `mprotect`, purge is
//! `madvise`, remap is `mremap`. A page before each reservation is never accessible:
//! who runs past the end of what lies below it, another region perhaps, faults before
//! its records.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use granule_core::PageProvider;
use granule_core::provider::{Capabilities, Node, ProviderError, Reservation};

use super::env::{quietly, told};
use super::numa;

/// Address space for the first region: what every block is found in by one
/// range test. 64-bit Linux has 128 TiB.
#[cfg(target_pointer_width = "64")]
const FIRST: usize = 256 << 30;
#[cfg(not(target_pointer_width = "64"))]
const FIRST: usize = 64 << 20;

/// Address space for the first region of a heap among many; what is found by a
/// walk doubles, so they stay few.
const FIRST_OF_MANY: usize = 32 << 20;

/// Smallest region under a limit of address space.
const LEAST: usize = 4 << 20;

/// Anonymous private memory of the process.
#[derive(Debug)]
pub struct HostPages {
    /// Address space to reserve at first.
    first: usize,
    reserved: AtomicUsize,
    /// Whether the first reservation was made without a limit.
    unlimited_at_start: AtomicBool,
    committed: AtomicUsize,
    /// The limit of address space last seen; 0 when there was none.
    limit: AtomicUsize,
    /// What may be committed under that limit.
    allowance: AtomicUsize,
}

impl HostPages {
    /// A provider that has handed out nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self::starting_with(FIRST)
    }

    /// The same for a heap of which there may be many: it reserves 32 MiB of
    /// address space at first and then as much again as it has, where
    /// [`new`](Self::new) reserves 256 GiB, of which a process has 128 TiB.
    #[must_use]
    pub const fn for_heaps() -> Self {
        Self::starting_with(FIRST_OF_MANY)
    }

    const fn starting_with(first: usize) -> Self {
        Self {
            first,
            reserved: AtomicUsize::new(0),
            unlimited_at_start: AtomicBool::new(false),
            committed: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            allowance: AtomicUsize::new(0),
        }
    }

    /// Fresh address space behind a guard page, placed at a node, or wherever is the rule.
    fn map(&self, bytes: usize, node: Option<Node>) -> Result<Reservation, ProviderError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let guard = self.page_size();
        let all = bytes.checked_add(guard).ok_or(ProviderError)?;
        // SAFETY: a fresh mapping touches nobody's.
        let start =
            quietly(|| unsafe { libc::mmap(null_mut(), all, libc::PROT_NONE, flags, -1, 0) });
        if start == libc::MAP_FAILED {
            return Err(ProviderError);
        }
        // SAFETY: the guard is part of what was mapped.
        let start = unsafe { start.byte_add(guard) };
        let start = NonNull::new(start.cast()).ok_or(ProviderError)?;
        if self.reserved.fetch_add(all, Relaxed) == 0 && address_limit().is_none() {
            self.unlimited_at_start.store(true, Relaxed);
        }
        let reservation = Reservation { start, bytes };
        numa::place_at(&reservation, node);
        Ok(reservation)
    }

    /// Whether `bytes` more may be committed.
    ///
    /// The kernel checks a limit of address space when it maps, and we have
    /// mapped long before. A program that sets a limit while it runs means
    /// the memory it uses from then on: so much in all if the limit is below
    /// what is reserved, so much more if it is above. (Under a limit from the
    /// start little is reserved at a time, and the kernel's check serves.)
    fn may_commit(&self, bytes: usize) -> bool {
        if !self.unlimited_at_start.load(Relaxed) {
            return true;
        }
        let Some(limit) = address_limit() else { return true };
        let committed = self.committed.load(Relaxed);
        if self.limit.swap(limit, Relaxed) != limit {
            let allowance = match limit.checked_sub(self.reserved.load(Relaxed)) {
                Some(more) => committed.saturating_add(more),
                None => limit,
            };
            self.allowance.store(allowance, Relaxed);
        }
        committed.saturating_add(bytes) <= self.allowance.load(Relaxed)
    }
}

impl Default for HostPages {
    fn default() -> Self {
        Self::new()
    }
}

/// The limit of address space, if there is one.
pub(super) fn address_limit() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    let failed = quietly(|| unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }) != 0;
    if failed || limit.rlim_cur == libc::RLIM_INFINITY {
        None
    } else {
        Some(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
    }
}

fn checked(call: impl FnOnce() -> libc::c_int) -> Result<(), ProviderError> {
    if quietly(call) == 0 { Ok(()) } else { Err(ProviderError) }
}

// SAFETY: `mmap` hands out address space that nobody has; the kernel keeps
// the other promises. Nothing here allocates.
unsafe impl PageProvider for HostPages {
    fn page_size(&self) -> usize {
        // As the kernel says. `sysconf` asks for the same, by a table of its own, whose
        // page would bring its neighbours along.
        let bytes = told(libc::AT_PAGESZ);
        usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        match address_limit() {
            None => needed.max(self.first.max(held.min(FIRST))),
            Some(limit) => needed.max((held / 2).clamp(LEAST, (limit / 8).max(LEAST))),
        }
    }

    #[inline]
    fn nodes(&self) -> u16 {
        numa::nodes()
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        self.map(bytes, None)
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        if node.0 < numa::nodes() { self.map(bytes, Some(node)) } else { Err(ProviderError) }
    }

    fn node(&self, address: *const u8) -> Node {
        numa::node_of(address)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        if !self.may_commit(bytes) {
            return Err(ProviderError);
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the caller's range is part of a reservation.
        checked(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, access) })?;
        self.committed.fetch_add(bytes, Relaxed);
        Ok(())
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is committed and its contents nobody's.
        checked(|| unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) })
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let guard = self.page_size();
        let all = reservation.bytes + guard;
        // SAFETY: `map` has put the guard before it.
        let start = unsafe { reservation.start.byte_sub(guard) };
        // SAFETY: the caller's reservation is whole and unused, and the guard its own.
        checked(|| unsafe { libc::munmap(start.as_ptr().cast(), all) })?;
        self.reserved.fetch_sub(all, Relaxed);
        Ok(())
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        // SAFETY: by the contract; what is committed is accessible.
        unsafe { super::remap::remap(from, to, bytes) }
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is ours, and nobody is to access it.
        checked(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_NONE) })
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the caller's range is ours, and committed.
        checked(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, access) })
    }

    #[inline]
    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        /// Pages asked about at once.
        const PAGES: usize = 256;
        let page = self.page_size();
        let mut resident = 0;
        for from in (0..bytes).step_by(PAGES * page) {
            let mut pages = [0u8; PAGES];
            let asked = (bytes - from).min(PAGES * page);
            // SAFETY: inside the caller's range.
            let at = unsafe { start.add(from) }.as_ptr().cast();
            // SAFETY: one byte for each page asked about.
            let told = checked(|| unsafe { libc::mincore(at, asked, pages.as_mut_ptr()) });
            if told.is_err() {
                return bytes;
            }
            resident += pages.iter().filter(|&&page| page & 1 != 0).count() * page;
        }
        resident
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's range is committed. A hint: failure is silent.
        let _ =
            checked(|| unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) });
    }

    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        let start = start.as_ptr().cast();
        // SAFETY: the caller's range is ours. A hint: failure is silent.
        let _ = checked(|| unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the kernel can read the byte: it says so, where we would fault.
    fn is_readable(at: NonNull<u8>) -> bool {
        let mut ends = [0; 2];
        // SAFETY: two descriptors fit; both are closed again; the kernel takes
        // any address.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            let written = libc::write(ends[1], at.as_ptr().cast(), 1);
            assert_eq!(ends.map(|end| libc::close(end)), [0; 2]);
            written == 1
        }
    }

    #[test]
    fn a_guard_stands_before_each_reservation() {
        let pages = HostPages::new();
        let page = pages.page_size();
        let all = [1, 16, 100].map(|count| pages.reserve(count * page).expect("address space"));
        for reservation in all {
            let Reservation { start, bytes } = reservation;
            // SAFETY: inside of the reservation; the page before is only asked about.
            unsafe {
                pages.commit(start, bytes).expect("memory");
                assert!(is_readable(start) && is_readable(start.add(bytes - 1)));
                assert!(!is_readable(start.sub(1)) && !is_readable(start.sub(page)));
            }
        }
        for reservation in all {
            // SAFETY: whole, and nobody's any more.
            unsafe { pages.release(reservation) }.expect("whole");
        }
        assert_eq!(pages.reserved.load(Relaxed), 0, "guards go with what they guard");
    }

    #[test]
    fn protected_pages_cannot_be_read_and_keep_their_contents() {
        let pages = HostPages::new();
        let page = pages.page_size();
        let reservation = pages.reserve(3 * page).expect("address space");
        let start = reservation.start;
        // SAFETY: inside the reservation; what is protected is not accessed.
        unsafe {
            pages.commit(start, 3 * page).expect("memory");
            start.write_bytes(7, 3 * page);
            pages.protect(start.add(page), page).expect("a page");
            let readable = [0, page, 2 * page].map(|at| is_readable(start.add(at)));
            assert_eq!(readable, [true, false, true]);
            pages.unprotect(start, 3 * page).expect("pages");
            assert!(is_readable(start.add(page)) && start.add(page).read() == 7);
            pages.release(reservation).expect("whole");
        }
    }
}
