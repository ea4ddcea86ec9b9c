//! A heap as the provider of another one.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::Heap;
use crate::base::config::Config;
use crate::base::units::PAGE_SIZE;
use crate::provider::{Capabilities, PageProvider, ProviderError, Reservation};

/// What is asked of the outer heap at a time, at least ...
const LEAST: usize = 256 << 10;
/// ... and at most, unless more is needed.
const MOST: usize = 16 << 20;
/// What is less takes so much: else it were a block of a slab, whose pages look
/// like those of the outer heap's own small blocks to a free without a layout.
const SMALLEST: usize = 64 << 10;

/// Memory of another heap: each reservation is one of its blocks, and goes
/// back to it when all of it is free, or when the inner heap ends.
///
/// Less than 64 KiB, which a heap asks for when memory is short, takes as much of
/// the outer heap. The inner heap's blocks are no blocks of the outer heap: they are freed to
/// the inner one. Locks of the outer heap are taken under the inner one's
/// `growth`.
#[derive(Debug)]
pub struct Nested<C: Config> {
    outer: NonNull<Heap<C>>,
}

// SAFETY: a shared borrow of a heap, which is `Sync`.
unsafe impl<C: Config> Send for Nested<C> {}
// SAFETY: as above.
unsafe impl<C: Config> Sync for Nested<C> {}

impl<C: Config> Nested<C> {
    /// Memory of a heap that lives for ever.
    #[must_use]
    pub const fn new(outer: &'static Heap<C>) -> Self {
        // SAFETY: it outlives everything.
        unsafe { Self::borrowing(outer) }
    }

    /// Memory of a heap that ends later than this.
    ///
    /// # Safety
    ///
    /// Caller: `outer` stays where it is, is not dropped nor borrowed
    /// exclusively while the provider is used; a heap that is dropped, having
    /// used this, may give memory back to `outer` then.
    #[must_use]
    pub const unsafe fn borrowing(outer: &Heap<C>) -> Self {
        // SAFETY: a reference is not null.
        Self { outer: unsafe { NonNull::new_unchecked(core::ptr::from_ref(outer).cast_mut()) } }
    }

    fn outer(&self) -> &Heap<C> {
        // SAFETY: by the contract of `borrowing`.
        unsafe { self.outer.as_ref() }
    }

    /// What a provider on memory of some heap should ask it for, see
    /// [`PageProvider::suggest`].
    #[must_use]
    pub const fn suggestion(needed: usize, held: usize) -> usize {
        let step = if held < LEAST {
            LEAST
        } else if held > MOST {
            MOST
        } else {
            held
        };
        if needed > step { needed } else { step }
    }

    /// A block of `outer` as a reservation, for providers of their own.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is none.
    #[inline(always)]
    pub fn reserve_in(outer: &Heap<C>, bytes: usize) -> Result<Reservation, ProviderError> {
        let block = outer.alloc(Self::layout(bytes)?);
        let start = NonNull::new(block).ok_or(ProviderError)?;
        Ok(Reservation { start, bytes })
    }

    /// Gives such a block back.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] for a length that no block has.
    ///
    /// # Safety
    ///
    /// Caller: the reservation is of [`reserve_in`](Self::reserve_in) with this
    /// heap, is given back once, and nothing in it is used any more.
    #[inline(always)]
    pub unsafe fn release_in(
        outer: &Heap<C>,
        reservation: Reservation,
    ) -> Result<(), ProviderError> {
        let layout = Self::layout(reservation.bytes)?;
        // SAFETY: by the contract; of this layout.
        unsafe { outer.dealloc(reservation.start, layout) };
        Ok(())
    }

    fn layout(bytes: usize) -> Result<Layout, ProviderError> {
        Layout::from_size_align(bytes.max(SMALLEST), PAGE_SIZE).map_err(|_| ProviderError)
    }
}

// SAFETY: a block of the outer heap is nobody else's until it is freed there,
// readable, writable, and aligned to its page. The inner heap is not the outer.
unsafe impl<C: Config> PageProvider for Nested<C> {
    fn page_size(&self) -> usize {
        PAGE_SIZE
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::RELEASE
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        Self::suggestion(needed, held)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        Self::reserve_in(self.outer(), bytes)
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: from `reserve`, once.
        unsafe { Self::release_in(self.outer(), reservation) }
    }
}
