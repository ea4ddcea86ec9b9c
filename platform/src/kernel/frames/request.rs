//! What is asked of the allocator, and what memory is like.

use granule_core::provider::Node;

bitflags::bitflags! {
    /// What is special about memory. No flag is ordinary memory: fast, above
    /// 4 GiB, of no use to old devices.
    ///
    /// The bits are the order of preference, see [`Request`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FrameFlags: u32 {
        /// Below 4 GiB, where 32-bit devices reach. Computed, never given.
        const BELOW_4G = 1 << 0;
        /// Slower than other memory: another node, external, emulated.
        const SLOW = 1 << 1;
        /// What devices of few address bits reach: scarce.
        const DMA = 1 << 2;
        /// Atomic operations do not work here. Handed out only to requests
        /// that want it by name.
        const NO_ATOMICS = 1 << 3;
    }
}

impl FrameFlags {
    /// How late memory is used that nobody asked for by name: the lower, the
    /// earlier. A device that finds no memory fails, a program on slow memory
    /// is slow: so DMA memory goes last.
    pub(super) fn rank(self) -> u32 {
        self.bits()
    }
}

impl core::fmt::Display for FrameFlags {
    /// `DMA | BELOW_4G`, or `ordinary`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_empty() { f.pad("ordinary") } else { bitflags::parser::to_writer(self, f) }
    }
}

/// What kind of run is wanted.
///
/// Of the banks that qualify, ordinary memory goes first, then memory below
/// 4 GiB, slow memory, and memory for DMA last; among equals, and within a
/// bank, the lowest address.
///
/// ```
/// use granule::kernel::frames::{FrameFlags, Request};
///
/// // 1 MiB for a device, in frames of 4 KiB, at a multiple of 64 KiB.
/// let request = Request::new(256).aligned_to(64 << 10).wanting(FrameFlags::DMA);
/// # let _ = request;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Request {
    pub(super) frames: usize,
    pub(super) align: u64,
    pub(super) wants: FrameFlags,
    pub(super) avoids: FrameFlags,
    pub(super) node: Option<Node>,
}

impl Request {
    /// `frames` frames (at least 1) that lie together, anywhere.
    #[inline]
    pub const fn new(frames: usize) -> Self {
        let none = FrameFlags::empty();
        Self { frames, align: 1, wants: none, avoids: none, node: None }
    }

    /// The run starts at a physical address that is a multiple of `bytes`, a
    /// power of two. Less than a frame means nothing.
    #[inline]
    pub const fn aligned_to(self, bytes: u64) -> Self {
        Self { align: bytes, ..self }
    }

    /// Only memory that has all of these flags.
    #[inline]
    pub const fn wanting(self, flags: FrameFlags) -> Self {
        Self { wants: flags, ..self }
    }

    /// No memory that has any of these flags.
    #[inline]
    pub const fn avoiding(self, flags: FrameFlags) -> Self {
        Self { avoids: flags, ..self }
    }

    /// Only memory of this node.
    #[inline]
    pub const fn on_node(self, node: Node) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Whether memory of these flags and this node will do.
    #[inline]
    pub(super) fn accepts(&self, flags: FrameFlags, node: Node) -> bool {
        let unnamed = FrameFlags::NO_ATOMICS - self.wants;
        let is_near = self.node.is_none_or(|wanted| wanted == node);
        is_near && flags.contains(self.wants) && !flags.intersects(self.avoids | unnamed)
    }
}
