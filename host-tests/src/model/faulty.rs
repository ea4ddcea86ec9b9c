//! A provider that fails when it is told to, and keeps books.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use granule::HostPages;
use granule_core::PageProvider;
use granule_core::provider::{Capabilities, ProviderError, Reservation};

/// The host's pages in small reservations, of which a given call is refused,
/// and of which no more than a limit is handed out.
#[derive(Debug)]
pub struct Faulty {
    pages: HostPages,
    limit: usize,
    refused: AtomicUsize,
    calls: AtomicUsize,
    reserved: AtomicUsize,
}

/// Bytes in most reservations: small, so that there are many.
const REGION: usize = 2 << 20;

impl Faulty {
    /// Hands out up to `limit` bytes and refuses nothing.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            pages: HostPages::new(),
            limit,
            refused: AtomicUsize::new(usize::MAX),
            calls: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
        }
    }

    /// Counts calls from 0 again and refuses the one with this number.
    pub fn refuse(&self, number: usize) {
        self.calls.store(0, Relaxed);
        self.refused.store(number, Relaxed);
    }

    /// Refuses nothing more; returns the calls since [`refuse`](Self::refuse).
    pub fn relent(&self) -> usize {
        self.refused.store(usize::MAX, Relaxed);
        self.calls.load(Relaxed)
    }

    /// Bytes handed out and not taken back.
    pub fn reserved(&self) -> usize {
        self.reserved.load(Relaxed)
    }

    fn may(&self) -> Result<(), ProviderError> {
        if self.calls.fetch_add(1, Relaxed) == self.refused.load(Relaxed) {
            Err(ProviderError)
        } else {
            Ok(())
        }
    }
}

// SAFETY: the host's pages, now and then refused before anything is done.
unsafe impl PageProvider for Faulty {
    fn page_size(&self) -> usize {
        self.pages.page_size()
    }

    fn capabilities(&self) -> Capabilities {
        self.pages.capabilities()
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed.max(REGION)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        self.may()?;
        if self.reserved() + bytes > self.limit {
            return Err(ProviderError);
        }
        let reservation = self.pages.reserve(bytes)?;
        self.reserved.fetch_add(reservation.bytes, Relaxed);
        Ok(reservation)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.purge(start, bytes) }
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.protect(start, bytes) }
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.unprotect(start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.release(reservation) }?;
        self.reserved.fetch_sub(reservation.bytes, Relaxed);
        Ok(())
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        self.may()?;
        // SAFETY: by the contract.
        unsafe { self.pages.remap(from, to, bytes) }
    }
}
