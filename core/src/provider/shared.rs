//! One provider for several heaps.

use core::ptr::NonNull;

use super::{Capabilities, Node, PageProvider, ProviderError, Reservation};

// SAFETY: it is the provider itself that does everything.
unsafe impl<P: PageProvider> PageProvider for &P {
    fn page_size(&self) -> usize {
        P::page_size(self)
    }

    fn capabilities(&self) -> Capabilities {
        P::capabilities(self)
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        P::suggest(self, needed, held)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        P::reserve(self, bytes)
    }

    fn nodes(&self) -> u16 {
        P::nodes(self)
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        P::reserve_on(self, node, bytes)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::commit(self, start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::purge(self, start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::release(self, reservation) }
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::remap(self, from, to, bytes) }
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::protect(self, start, bytes) }
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { P::unprotect(self, start, bytes) }
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { P::advise_huge(self, start, bytes) };
    }

    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { P::refuse_huge(self, start, bytes) };
    }

    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        // SAFETY: by the contract.
        unsafe { P::resident(self, start, bytes) }
    }

    fn node(&self, address: *const u8) -> Node {
        P::node(self, address)
    }
}
