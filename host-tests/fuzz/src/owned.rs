//! A heap that ends: the fuzzer makes thousands a second.

use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::provider::{Capabilities, ProviderError, Reservation};
use granule_core::{Heap, PageProvider};
use granule_host_tests::model::faulty::Faulty;
use granule_host_tests::model::fixtures::Tested;

/// [`Faulty`], with what it has handed out, to take it back at the end.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) pages: Faulty,
    held: Mutex<Vec<Held>>,
}

#[derive(Debug)]
struct Held(Reservation);

// SAFETY: a reservation is memory that whoever has it may give back.
unsafe impl Send for Held {}

/// A heap, as long as this exists.
#[derive(Debug)]
pub(crate) struct Owned<K: Cpu>(NonNull<Heap<Tested<Books, K>>>);

impl<K: Cpu> Owned<K> {
    pub(crate) fn new(limit: usize) -> Self {
        let books = Books { pages: Faulty::new(limit), held: Mutex::default() };
        Self(NonNull::from(Box::leak(Box::new(Heap::new(books, Guarded::new())))))
    }

    pub(crate) fn heap(&self) -> &Heap<Tested<Books, K>> {
        // SAFETY: made of a box in `new`, which lives as long as this.
        unsafe { self.0.as_ref() }
    }
}

impl<K: Cpu> Drop for Owned<K> {
    fn drop(&mut self) {
        // SAFETY: made of a box in `new`; nobody has a reference any more.
        let heap = unsafe { Box::from_raw(self.0.as_ptr()) };
        let books = heap.provider();
        let mut held = books.held.lock().unwrap_or_else(PoisonError::into_inner);
        books.pages.relent();
        for Held(reservation) in held.drain(..) {
            // SAFETY: handed out and not yet taken back; the heap is gone
            // with this function.
            unsafe { books.pages.release(reservation) }.expect("nothing is refused");
        }
    }
}

// SAFETY: as `Faulty`, to which every call goes.
unsafe impl PageProvider for Books {
    fn page_size(&self) -> usize {
        self.pages.page_size()
    }

    fn capabilities(&self) -> Capabilities {
        self.pages.capabilities()
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        self.pages.suggest(needed, held)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        let reservation = self.pages.reserve(bytes)?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Held(reservation));
        Ok(reservation)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.pages.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.pages.purge(start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.pages.release(reservation) }?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.0 != reservation);
        Ok(())
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.pages.remap(from, to, bytes) }
    }
}
