//! Pages from `mmap`.
//!
//! Reserved without access, committed by `mprotect`, purged by
//! `MADV_FREE_REUSABLE`: the system may take them at once, and does not count
//! them as the program's. That they are used again nobody tells it
//! (`MADV_FREE_REUSE`), so that they may be counted too low. Pages cannot be
//! moved.

use core::ptr::{NonNull, null_mut};

use granule_core::PageProvider;
use granule_core::provider::{Capabilities, ProviderError, Reservation};

use super::env::quietly;

/// Address space for a region, as on Windows: a process has 64 TiB at least.
const REGION: usize = 64 << 30;

/// Anonymous private memory of the process.
#[derive(Debug, Default)]
pub struct HostPages(());

impl HostPages {
    /// A provider that has handed out nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

fn checked(call: impl FnOnce() -> libc::c_int) -> Result<(), ProviderError> {
    if quietly(call) == 0 { Ok(()) } else { Err(ProviderError) }
}

// SAFETY: `mmap` hands out address space that nobody has; the kernel keeps
// the other promises. Nothing here allocates.
unsafe impl PageProvider for HostPages {
    fn page_size(&self) -> usize {
        // SAFETY: no preconditions.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        // 16 KiB on Apple's processors, which is right for others, too.
        usize::try_from(bytes).unwrap_or(16 << 10)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::FRESH_IS_ZERO
            | Capabilities::COMMIT
            | Capabilities::PURGE
            | Capabilities::RELEASE
            | Capabilities::PROTECT
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed.max(REGION)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping touches nobody's.
        let start =
            quietly(|| unsafe { libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) });
        if start == libc::MAP_FAILED {
            return Err(ProviderError);
        }
        Ok(Reservation { start: NonNull::new(start.cast()).ok_or(ProviderError)?, bytes })
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the caller's range is part of a reservation.
        checked(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, access) })
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let at = start.as_ptr().cast();
        // SAFETY: the caller's range is committed and its contents nobody's.
        checked(|| unsafe { libc::madvise(at, bytes, libc::MADV_FREE_REUSABLE) })
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let Reservation { start, bytes } = reservation;
        // SAFETY: the caller's reservation is whole and unused.
        checked(|| unsafe { libc::munmap(start.as_ptr().cast(), bytes) })
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is ours, and nobody is to access it.
        checked(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_NONE) })
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: the caller's range is ours, and committed.
        unsafe { self.commit(start, bytes) }
    }

    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        /// Pages asked about at once.
        const PAGES: usize = 256;
        let page = self.page_size();
        let mut resident = 0;
        for from in (0..bytes).step_by(PAGES * page) {
            let mut pages = [0; PAGES];
            let asked = (bytes - from).min(PAGES * page);
            let at = start.as_ptr().wrapping_add(from).cast();
            // SAFETY: inside the caller's range; one byte for each page.
            let told = checked(|| unsafe { libc::mincore(at, asked, pages.as_mut_ptr()) });
            if told.is_err() {
                return bytes;
            }
            resident += pages.iter().filter(|&&page| page & 1 != 0).count() * page;
        }
        resident
    }
}
