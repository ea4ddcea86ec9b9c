//! Frames as pages of a heap.

use core::ptr::NonNull;

use granule_core::base::units::PAGE_SIZE;
use granule_core::provider::{Capabilities, Node, ProviderError, Reservation};
use granule_core::{Environment, PageProvider};

use super::address::FrameRun;
use super::allocator::Frames;
use super::request::{FrameFlags, Request};

/// The least to ask for: a heap's first region.
const FIRST: usize = 256 << 10;

/// The most to ask for beyond what is needed: more would make other users of
/// frames wait for the heap to give back.
const MOST: usize = 32 << 20;

/// A heap's pages out of a static [`Frames`]: runs of frames at their
/// addresses in the direct map.
///
/// Reservations are committed from the start and have any contents; they are
/// taken back whole. A heap starts with 256 KiB and grows by half of what it
/// has; where runs have become short, it makes do with less. Before
/// [`Frames::init`] every reservation is refused, and
/// [`page_size`](PageProvider::page_size) is 4 KiB: initialise the frames
/// before a heap's first use.
///
/// ```
/// use granule::kernel::frames::{FrameFlags, FramePages, Frames};
/// # use granule::HostEnv as KernelEnv;
///
/// static FRAMES: Frames<KernelEnv, 16> = Frames::new();
/// // A heap that leaves the memory of devices alone.
/// static PAGES: FramePages<KernelEnv, 16> =
///     FramePages::new(&FRAMES).avoiding(FrameFlags::DMA);
/// ```
pub struct FramePages<E: Environment, const BANKS: usize> {
    frames: &'static Frames<E, BANKS>,
    wants: FrameFlags,
    avoids: FrameFlags,
}

impl<E: Environment, const BANKS: usize> FramePages<E, BANKS> {
    /// Pages of any memory, in the order of preference of [`Request`].
    #[must_use]
    pub const fn new(frames: &'static Frames<E, BANKS>) -> Self {
        Self { frames, wants: FrameFlags::empty(), avoids: FrameFlags::empty() }
    }

    /// Only memory that has all of these flags.
    #[must_use]
    pub const fn wanting(self, flags: FrameFlags) -> Self {
        Self { wants: flags, ..self }
    }

    /// No memory that has any of these flags.
    #[must_use]
    pub const fn avoiding(self, flags: FrameFlags) -> Self {
        Self { avoids: flags, ..self }
    }

    /// A run of frames, as `with` says besides.
    fn take(
        &self,
        bytes: usize,
        with: impl FnOnce(Request) -> Request,
    ) -> Result<Reservation, ProviderError> {
        let frames = bytes.div_ceil(self.page_size());
        let request = Request::new(frames).wanting(self.wants).avoiding(self.avoids);
        let run = self.frames.alloc_with(with(request)).map_err(|_| ProviderError)?;
        let Some(start) = self.frames.direct_map().pointer(run.start) else {
            // Cannot be, see above; what cannot be used goes back.
            // SAFETY: just taken, and nobody knows of it.
            let _ = unsafe { self.frames.free(run) };
            return Err(ProviderError);
        };
        Ok(Reservation { start, bytes: frames * self.page_size() })
    }

    /// Where the pages come from.
    #[must_use]
    pub const fn frames(&self) -> &'static Frames<E, BANKS> {
        self.frames
    }
}

impl<E: Environment, const BANKS: usize> core::fmt::Debug for FramePages<E, BANKS> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut debug = f.debug_struct("FramePages");
        debug.field("wants", &self.wants).field("avoids", &self.avoids).finish_non_exhaustive()
    }
}

// SAFETY: F1 and F2, a run that is handed out is memory of a bank and in
// nobody else's use until it is freed; by the contract of `Frames::init` it is
// readable and writable in the direct map, where (`DirectMap::covers`) its
// addresses neither wrap nor are null. Runs and the map's offset are multiples
// of the frame size. Nothing allocates from a heap or unwinds, and a call that
// is refused changes nothing (`FrameError`).
unsafe impl<E: Environment, const BANKS: usize> PageProvider for FramePages<E, BANKS> {
    fn page_size(&self) -> usize {
        self.frames.frame_size().unwrap_or(PAGE_SIZE)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::RELEASE
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        needed.max((held / 2).clamp(FIRST, MOST))
    }

    fn nodes(&self) -> u16 {
        self.frames.nodes()
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        self.take(bytes, |request| request)
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        self.take(bytes, |request| request.on_node(node))
    }

    fn node(&self, address: *const u8) -> Node {
        let direct = self.frames.direct_map();
        let address = NonNull::new(address.cast_mut()).map(|address| direct.physical(address));
        address.and_then(|address| self.frames.node_of(address)).unwrap_or(Node(0))
    }

    unsafe fn commit(&self, _start: NonNull<u8>, _bytes: usize) -> Result<(), ProviderError> {
        Err(ProviderError)
    }

    unsafe fn purge(&self, _start: NonNull<u8>, _bytes: usize) -> Result<(), ProviderError> {
        Err(ProviderError)
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let start = self.frames.direct_map().physical(reservation.start);
        let run = FrameRun { start, frames: reservation.bytes / self.page_size() };
        // SAFETY: the caller's reservation is a run of ours, given back once,
        // and unused.
        unsafe { self.frames.free(run) }.map_err(|_| ProviderError)
    }
}
