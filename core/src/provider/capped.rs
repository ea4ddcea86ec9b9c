//! A provider with a hard limit.

use core::ptr::NonNull;

use super::{Capabilities, Node, PageProvider, ProviderError, Reservation};
use crate::base::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::base::units::PAGE_SIZE;

/// Pages that a cap has to allow at least: a region with its tables, a cache
/// and a slab of each of two classes up to 1 KiB.
const LEAST_PAGES: usize = 16;

/// A cap below what any heap needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapTooSmall {
    /// The least cap that the provider can have, in bytes.
    pub least: usize,
}

impl core::fmt::Display for CapTooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a heap's cap is at least {} bytes", self.least)
    }
}

impl core::error::Error for CapTooSmall {}

/// Never more than `cap` bytes of another provider's at a time.
///
/// What counts is what is reserved: the heap's blocks, what it caches, and its
/// tables, 1.7 %. So no more than the cap can ever be committed or resident;
/// a heap that would need more fails as one whose provider has no more: null,
/// after it has given back what it can. Costs nothing but a comparison when the
/// heap grows. A provider that hands out more than it was asked for may pass the
/// cap by that.
///
/// A cap of up to 64 pages is reserved in one piece. Behind a reference, one cap holds for
/// several heaps together.
#[derive(Debug)]
pub struct Capped<P> {
    inner: P,
    cap: usize,
    held: AtomicUsize,
}

impl<P: PageProvider> Capped<P> {
    /// Up to `cap` bytes, rounded down to the provider's pages, of `inner`.
    ///
    /// # Errors
    ///
    /// [`CapTooSmall`] below 16 pages, the machine's or of 4 KiB.
    pub fn new(inner: P, cap: usize) -> Result<Self, CapTooSmall> {
        let least = LEAST_PAGES * inner.page_size().max(PAGE_SIZE);
        if cap < least {
            return Err(CapTooSmall { least });
        }
        let cap = cap - cap % inner.page_size();
        Ok(Self { inner, cap, held: AtomicUsize::new(0) })
    }

    /// The cap, in bytes.
    #[must_use]
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The provider behind it.
    #[must_use]
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// A reservation of `bytes`, if the cap allows.
    fn counted(
        &self,
        bytes: usize,
        reserve: impl FnOnce() -> Result<Reservation, ProviderError>,
    ) -> Result<Reservation, ProviderError> {
        self.count(bytes)?;
        match reserve() {
            Ok(reservation) => {
                // Modulo: it may be less than was asked for, by a provider that lies.
                self.held.fetch_add(reservation.bytes.wrapping_sub(bytes), Relaxed);
                Ok(reservation)
            }
            Err(refused) => {
                self.held.fetch_sub(bytes, Relaxed);
                Err(refused)
            }
        }
    }

    /// Counts `bytes` as held, if the cap allows.
    fn count(&self, bytes: usize) -> Result<(), ProviderError> {
        // Relaxed: a count, which hands nothing over.
        let mut held = self.held.load(Relaxed);
        loop {
            let sum = held.checked_add(bytes).filter(|&sum| sum <= self.cap);
            let sum = sum.ok_or(ProviderError)?;
            match self.held.compare_exchange(held, sum, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => held = now,
            }
        }
    }
}

// SAFETY: hands out what `inner` does, or nothing.
unsafe impl<P: PageProvider> PageProvider for Capped<P> {
    fn page_size(&self) -> usize {
        self.inner.page_size()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        let left = self.cap.saturating_sub(self.held());
        // Where there is little, one piece holds more than several.
        let is_little = self.cap <= 4 * LEAST_PAGES * self.page_size().max(PAGE_SIZE);
        let whole = if is_little { left } else { 0 };
        self.inner.suggest(needed, held).max(whole).min(left).max(needed)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        self.counted(bytes, || self.inner.reserve(bytes))
    }

    fn nodes(&self) -> u16 {
        self.inner.nodes()
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        self.counted(bytes, || self.inner.reserve_on(node, bytes))
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.purge(start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.release(reservation) }?;
        self.held.fetch_sub(reservation.bytes, Relaxed);
        Ok(())
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.remap(from, to, bytes) }
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.protect(start, bytes) }
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.inner.unprotect(start, bytes) }
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.inner.advise_huge(start, bytes) };
    }

    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.inner.refuse_huge(start, bytes) };
    }

    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        // SAFETY: by the contract.
        unsafe { self.inner.resident(start, bytes) }
    }

    fn node(&self, address: *const u8) -> Node {
        self.inner.node(address)
    }
}
