//! Pages from `VirtualAlloc`.
//!
//! | state | call | what it costs |
//! |---|---|---|
//! | reserved | `MEM_RESERVE` | address space, in steps of 64 KiB |
//! | committed | `MEM_COMMIT` | a claim on memory and page file, counted at once |
//! | purged | `MEM_RESET`, then `VirtualUnlock` | the claim; the memory is free |
//! | released | `MEM_RELEASE`, of whole reservations | |
//!
//! A reset page may be taken without being written anywhere; unlocking what is
//! not locked takes it out of the working set at once (documented, and .NET's
//! collector does the same). `MEM_DECOMMIT` would give the claim back as well,
//! but purged pages have to stay usable, and to claim them again can fail when
//! nobody expects it. `DiscardVirtualMemory` does the same as the two calls in
//! one, and is missing from older systems and from wine.
//!
//! Pages cannot be moved, so `realloc` copies.

use core::ptr::{NonNull, null};

use granule_core::PageProvider;
use granule_core::base::units::align_up;
use granule_core::provider::{Capabilities, Node, ProviderError, Reservation};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_LARGE_PAGES, MEM_RELEASE, MEM_RESERVE, MEM_RESET, PAGE_NOACCESS,
    PAGE_PROTECTION_FLAGS, PAGE_READWRITE, VIRTUAL_ALLOCATION_TYPE, VirtualAlloc,
    VirtualAllocExNuma, VirtualFree, VirtualProtect, VirtualUnlock,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::env::quietly;
use super::{large, working_set};

/// Address space for a region: what every block of the first is found in by one
/// range test. A process has 128 TiB. Linux's 256 GiB would be as good, but
/// wine keeps a byte a page.
const REGION: usize = 64 << 30;

/// What the system reserves address space in.
const GRANULARITY: usize = 64 << 10;

/// No node is preferred.
const ANY_NODE: u16 = u16::MAX;

/// Private memory of the process.
#[derive(Debug)]
pub struct HostPages {
    /// The node that memory should be on, or [`ANY_NODE`].
    preferred: u16,
}

impl Default for HostPages {
    fn default() -> Self {
        Self::new()
    }
}

impl HostPages {
    /// Memory of whatever node the thread is on that touches it first.
    #[must_use]
    pub const fn new() -> Self {
        Self { preferred: ANY_NODE }
    }

    /// Memory of a node, as far as the node has any. One that does not exist
    /// is as none: all memory is had as from [`new`](Self::new).
    #[must_use]
    pub const fn on_node(node: Node) -> Self {
        Self { preferred: node.0 }
    }

    /// How many nodes the machine has: those below this number, at least one.
    #[must_use]
    pub fn nodes() -> u16 {
        working_set::nodes()
    }

    /// `VirtualAlloc` of fresh address space, on the preferred node if any.
    fn fresh(&self, bytes: usize, how: VIRTUAL_ALLOCATION_TYPE) -> Option<NonNull<u8>> {
        let node = self.preferred;
        let start = if node < Self::nodes() {
            // SAFETY: a fresh reservation touches nobody's.
            quietly(|| unsafe {
                let (process, node) = (GetCurrentProcess(), u32::from(node));
                VirtualAllocExNuma(process, null(), bytes, how, PAGE_READWRITE, node)
            })
        } else {
            // SAFETY: as above.
            quietly(|| unsafe { VirtualAlloc(null(), bytes, how, PAGE_READWRITE) })
        };
        NonNull::new(start.cast())
    }

    /// A reservation in large pages, committed and resident from the start.
    fn reserve_large(&self, bytes: usize) -> Option<Reservation> {
        let bytes = align_up(bytes, large::page()?)?;
        let start = self.fresh(bytes, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES);
        Some(Reservation { start: start?, bytes })
    }
}

fn checked(done: bool) -> Result<(), ProviderError> {
    if done { Ok(()) } else { Err(ProviderError) }
}

/// Sets what may be done with committed pages; their contents stay.
///
/// # Safety
///
/// Caller: as for `protect` and `unprotect` of [`PageProvider`].
unsafe fn allow(
    start: NonNull<u8>,
    bytes: usize,
    access: PAGE_PROTECTION_FLAGS,
) -> Result<(), ProviderError> {
    let (at, mut before) = (start.as_ptr().cast(), 0);
    // SAFETY: by the contract; `before` is writable.
    let done = quietly(|| unsafe { VirtualProtect(at, bytes, access, &raw mut before) });
    checked(done != 0)
}

// SAFETY: `VirtualAlloc` hands out address space that nobody has; the system
// keeps the other promises. Nothing here allocates.
unsafe impl PageProvider for HostPages {
    fn page_size(&self) -> usize {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: `info` is writable.
        unsafe { GetSystemInfo(&raw mut info) };
        info.dwPageSize as usize
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FRESH_IS_ZERO
            | Capabilities::COMMIT
            | Capabilities::PURGE
            | Capabilities::RELEASE
            | Capabilities::PROTECT
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        let bytes = match large::page() {
            Some(page) => large::suggest(needed, held, page),
            None => needed.max(REGION),
        };
        bytes.checked_next_multiple_of(GRANULARITY).unwrap_or(needed)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        if let Some(reservation) = self.reserve_large(bytes) {
            return Ok(reservation);
        }
        let start = self.fresh(bytes, MEM_RESERVE).ok_or(ProviderError)?;
        Ok(Reservation { start, bytes })
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let at = start.as_ptr().cast();
        // SAFETY: the caller's range is part of a reservation.
        let done = quietly(|| unsafe { VirtualAlloc(at, bytes, MEM_COMMIT, PAGE_READWRITE) });
        // Large pages are committed from the start, and may refuse to be again.
        checked(!done.is_null() || working_set::is_committed(start, bytes))
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let at = start.as_ptr().cast();
        // SAFETY: the caller's range is committed and its contents nobody's.
        quietly(|| unsafe {
            if VirtualAlloc(at, bytes, MEM_RESET, PAGE_READWRITE).is_null() {
                // Large pages are not taken back one by one.
                return Err(ProviderError);
            }
            // "Fails", because nothing was locked, having done what it should.
            VirtualUnlock(at, bytes);
            Ok(())
        })
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let at = reservation.start.as_ptr().cast();
        // SAFETY: the caller's reservation is whole and unused.
        checked(quietly(|| unsafe { VirtualFree(at, 0, MEM_RELEASE) }) != 0)
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is ours, and nobody is to access it.
        unsafe { allow(start, bytes, PAGE_NOACCESS) }
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is ours, and committed.
        unsafe { allow(start, bytes, PAGE_READWRITE) }
    }

    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        working_set::resident(start, bytes, self.page_size())
    }

    fn node(&self, address: *const u8) -> Node {
        working_set::node(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granule_core::check::conformance::page_provider;

    #[test]
    fn pages_conform_on_any_node_and_on_each() {
        let on = [HostPages::new(), HostPages::on_node(Node(ANY_NODE - 1))];
        let nodes = (0..HostPages::nodes()).map(|node| HostPages::on_node(Node(node)));
        for pages in on.into_iter().chain(nodes) {
            let report = page_provider(&pages).expect("conforms");
            assert_eq!(report.refusals, 0, "{pages:?}");
        }
    }

    #[test]
    fn what_is_purged_is_not_resident_and_may_be_used_again() {
        let pages = HostPages::new();
        let bytes = 1 << 20;
        let got = pages.reserve(bytes).expect("address space");
        assert!(got.start.addr().get().is_multiple_of(GRANULARITY));
        // SAFETY: the reservation is this test's own.
        unsafe {
            pages.commit(got.start, bytes).expect("memory");
            assert_eq!(pages.resident(got.start, bytes), 0);
            got.start.write_bytes(1, bytes / 2);
            assert_eq!(pages.resident(got.start, bytes), bytes / 2);
            assert!(pages.node(got.start.as_ptr()).0 < HostPages::nodes());
            pages.purge(got.start, bytes / 4).expect("purged");
            assert_eq!(pages.resident(got.start, bytes), bytes / 4);
            got.start.write_bytes(2, bytes);
            pages.release(got).expect("released");
        }
    }

    #[test]
    fn protected_pages_keep_their_contents() {
        let pages = HostPages::new();
        let got = pages.reserve(GRANULARITY).expect("address space");
        // SAFETY: the reservation is this test's own; what is protected is not
        // accessed.
        unsafe {
            pages.commit(got.start, 12288).expect("memory");
            got.start.write_bytes(7, 12288);
            pages.protect(got.start.add(4096), 4096).expect("a page");
            let usable =
                [0, 4096, 8192].map(|at| working_set::is_committed(got.start.add(at), 4096));
            assert_eq!(usable, [true, false, true]);
            pages.unprotect(got.start, 12288).expect("pages");
            assert!(working_set::is_committed(got.start, 12288));
            assert_eq!(got.start.add(5000).read(), 7);
            // Nothing that is not committed can be protected.
            assert_eq!(pages.protect(got.start.add(8192), 8192), Err(ProviderError));
            pages.release(got).expect("released");
        }
    }

    #[test]
    fn what_is_not_committed_is_not_called_so() {
        let pages = HostPages::new();
        let got = pages.reserve(GRANULARITY).expect("address space");
        assert!(!working_set::is_committed(got.start, 4096));
        // SAFETY: the reservation is this test's own.
        unsafe {
            pages.commit(got.start, 8192).expect("memory");
            assert!(working_set::is_committed(got.start, 8192));
            assert!(!working_set::is_committed(got.start, 12288));
            pages.release(got).expect("released");
        }
        assert_eq!(pages.reserve(1 << 60), Err(ProviderError));
    }
}
