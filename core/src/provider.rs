//! Layer 1, provider. Uses: base. Where memory comes from.
//!
//! A provider hands out contiguous *reservations* and changes the state of
//! pages inside them. It never sees the heap and is never called for a range
//! that somebody else could be using.
//!
//! ```text
//!            reserve              commit
//!  (nothing) ───────▶ reserved ───────────▶ committed ◀──▶ purged
//!      ▲                 │                      │   (contents given up)
//!      └─────────────────┴──────── release ─────┘
//! ```

// It counts by read-modify-write, whatever the heap's environment.
#[cfg(target_has_atomic = "ptr")]
mod capped;
mod shared;

#[cfg(target_has_atomic = "ptr")]
pub use capped::{CapTooSmall, Capped};

use core::ptr::NonNull;

bitflags::bitflags! {
    /// What a provider can do beyond handing out memory. Absent means that
    /// the matching call is never made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Capabilities: u32 {
        /// Memory is all zero when first committed.
        const FRESH_IS_ZERO = 1 << 0;
        /// Memory is all zero after [`PageProvider::purge`].
        const PURGE_ZEROES = 1 << 1;
        /// A reservation must be committed before use; without this flag it
        /// is committed from the start.
        const COMMIT = 1 << 2;
        /// [`PageProvider::purge`] gives memory back.
        const PURGE = 1 << 3;
        /// [`PageProvider::release`] takes whole reservations back.
        const RELEASE = 1 << 4;
        /// [`PageProvider::remap`] can move pages.
        const REMAP = 1 << 5;
        /// [`PageProvider::advise_huge`] and [`PageProvider::refuse_huge`] have
        /// an effect.
        const HUGE = 1 << 6;
        /// [`PageProvider::protect`] makes committed pages inaccessible, and
        /// [`PageProvider::unprotect`] accessible again.
        const PROTECT = 1 << 7;
    }
}

/// The provider refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderError;

impl core::fmt::Display for ProviderError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the page provider refused")
    }
}

impl core::error::Error for ProviderError {}

/// A contiguous piece of address space that a provider handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "dropping a reservation leaks it"]
pub struct Reservation {
    /// First byte. Its provenance covers the whole piece.
    pub start: NonNull<u8>,
    /// Length in bytes.
    pub bytes: usize,
}

/// The provider that has nothing: for heaps that live on what
/// [`Heap::add_region`](crate::Heap::add_region) gives them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPages;

// SAFETY: it hands out nothing and has no capabilities.
unsafe impl PageProvider for NoPages {
    fn page_size(&self) -> usize {
        crate::base::units::PAGE_SIZE
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed
    }

    fn reserve(&self, _bytes: usize) -> Result<Reservation, ProviderError> {
        Err(ProviderError)
    }
}

/// A NUMA node, numbered without gaps; 0 where there is only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node(pub u16);

/// A source of pages: an operating system, a kernel's frame allocator, an
/// array. Calls whose flag of [`Capabilities`] is absent are never made, and
/// need not be written.
///
/// # Safety
///
/// Implementor:
/// - `reserve` returns memory that is in nobody else's use until it is given
///   to `release`, readable and writable once committed, `start` and `bytes`
///   multiples of [`page_size`](Self::page_size), and not wrapping around the
///   address space (a piece that ends at its very top is allowed);
/// - the flags of [`capabilities`](Self::capabilities) are true and constant;
/// - no function allocates from, or frees to, the heap it serves, and none
///   unwinds;
/// - a call that returns an error has changed nothing.
///
/// Caller (the heap):
/// - calls `reserve`, `commit` and `release` under a lock of its own, so with
///   its environment's exclusion in force, and `purge` and `remap` without;
/// - asks for whatever the program asked for, also far more than there is;
/// - ranges lie inside one reservation and are multiples of `page_size`;
/// - `protect` and `unprotect` are called without a lock (but for that of its samples,
///   when it makes the place for them), for committed ranges of its own;
/// - `purge`, `remap` and `release` are called for ranges whose contents
///   nobody needs (for `remap`: needs any more at the old place) and which
///   nobody accesses meanwhile;
/// - `release` gets exactly what `reserve` returned, once.
///
/// The suite [`conformance::page_provider`](crate::check::conformance::page_provider)
/// tests the implementor's duties.
pub unsafe trait PageProvider: Sync {
    /// The machine's page in bytes: a power of two, at least 4 KiB, constant.
    fn page_size(&self) -> usize;

    /// What the provider can do.
    fn capabilities(&self) -> Capabilities;

    /// Bytes that the heap should ask for next, when it needs at least
    /// `needed` and has `held` from this provider: how fast to grow. Larger
    /// is better for look-ups and costs address space only, where
    /// [`Capabilities::COMMIT`] and [`Capabilities::PURGE`] are set. Without
    /// `PURGE` memory goes back by the region, when all of it is free, so that
    /// several of 1 to 16 MiB give back more than one large one, and the first
    /// never does. When refused, the heap tries halves down to `needed`.
    fn suggest(&self, needed: usize, held: usize) -> usize;

    /// Hands out at least `bytes` (a multiple of the page size, not 0). What is less, or
    /// not in whole pages, counts as refused and is released.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such piece.
    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError>;

    /// How many nodes the memory is on, at least 1. A heap tells apart as many as
    /// its [`Config::NODES`](crate::Config::NODES) says. Asked on slow paths; it
    /// may become more than 1 once, before there is more than one thread.
    #[inline]
    fn nodes(&self) -> u16 {
        1
    }

    /// Hands out memory of `node`, which is below [`nodes`](Self::nodes);
    /// as [`reserve`](Self::reserve) otherwise, which a provider of one node
    /// need not tell apart. The heap calls this instead of `reserve` where there
    /// is more than one node, and asks for other nodes when this one is refused.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the node has no such piece, or does not exist.
    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        if node == Node(0) { self.reserve(bytes) } else { Err(ProviderError) }
    }

    /// Makes `bytes` from `start` readable and writable. Committing twice is
    /// allowed and keeps the contents.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when memory is short; nothing has changed.
    ///
    /// # Safety
    ///
    /// Caller: the range lies inside one reservation, page-aligned.
    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let _ = (start, bytes);
        Err(ProviderError)
    }

    /// Gives the memory of committed pages back while they stay committed:
    /// contents become zero ([`Capabilities::PURGE_ZEROES`]) or undefined.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when nothing was given back; contents are unchanged.
    ///
    /// # Safety
    ///
    /// Caller: the range is committed, page-aligned, and its contents are
    /// nobody's.
    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let _ = (start, bytes);
        Err(ProviderError)
    }

    /// Takes a whole reservation back.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when it stays as it was.
    ///
    /// # Safety
    ///
    /// Caller: `reservation` came from [`reserve`](Self::reserve), is given
    /// back once, and nothing in it is used any more.
    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let _ = reservation;
        Err(ProviderError)
    }

    /// Moves the pages of one committed range to another, of which the old
    /// contents are lost. The old range stays committed and becomes zero.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when nothing moved.
    ///
    /// # Safety
    ///
    /// Caller: both ranges are committed, page-aligned, do not overlap, and
    /// nobody accesses either during the call.
    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        let _ = (from, to, bytes);
        Err(ProviderError)
    }

    /// Makes committed pages inaccessible: an access faults. They stay
    /// committed, with their contents. Protecting twice is allowed.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when all are as they were.
    ///
    /// # Safety
    ///
    /// Caller: the range is committed, page-aligned, and nobody accesses it
    /// until [`unprotect`](Self::unprotect) but by a mistake that is to fault;
    /// nor is it purged, moved or committed meanwhile.
    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let _ = (start, bytes);
        Err(ProviderError)
    }

    /// Makes protected pages readable and writable again, with the contents they
    /// had. Allowed for pages that are not protected.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when all are as they were.
    ///
    /// # Safety
    ///
    /// Caller: the range is committed and page-aligned.
    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let _ = (start, bytes);
        Err(ProviderError)
    }

    /// Says that huge pages are welcome in a committed range. A hint.
    ///
    /// # Safety
    ///
    /// Caller: the range is committed and page-aligned.
    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        let _ = (start, bytes);
    }

    /// Says that huge pages are not welcome in a range, committed or not. A
    /// hint.
    ///
    /// # Safety
    ///
    /// Caller: the range lies inside one reservation, page-aligned.
    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        let _ = (start, bytes);
    }

    /// How much of a committed range has memory behind it, in bytes; all of it
    /// where that cannot be told. An estimate for what is worth keeping, asked
    /// for now and then on slow paths: of user space, where pages get memory
    /// when they are touched, `mincore`.
    ///
    /// # Safety
    ///
    /// Caller: the range is committed and page-aligned.
    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        let _ = start;
        bytes
    }

    /// The node that the memory at `address` is on: asked for memory that the
    /// program adds.
    fn node(&self, address: *const u8) -> Node {
        let _ = address;
        Node(0)
    }
}
