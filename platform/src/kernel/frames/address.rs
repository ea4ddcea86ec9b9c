//! Physical addresses, runs of frames, and where physical memory is mapped.

use core::fmt;
use core::ptr::NonNull;

/// A physical address in bytes: what a memory map, a page table or a device
/// names memory by. Never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// The address `address`. All values are allowed.
    #[must_use]
    #[inline]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The bare number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PhysAddr {
    /// `0x0000_8000_0000`: hexadecimal in groups of four.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        if self.0 >> 48 != 0 {
            write!(f, "{:04x}_", self.0 >> 48)?;
        }
        let group = |shift: u32| self.0 >> shift & 0xffff;
        write!(f, "{:04x}_{:04x}_{:04x}", group(32), group(16), group(0))
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Frames that lie together in physical memory.
///
/// Plain numbers: to hold one proves nothing, which is why
/// [`Frames::free`](super::Frames::free) is unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "frames that nobody knows of are lost until they are freed"]
pub struct FrameRun {
    /// Address of the first frame, a multiple of the frame size.
    pub start: PhysAddr,
    /// Number of frames.
    pub frames: usize,
}

/// Where the kernel has all of its physical memory mapped, in one piece: a
/// *direct map* (boot protocols also say higher-half direct map). The virtual
/// address is the physical one plus a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DirectMap {
    offset: usize,
}

impl DirectMap {
    /// Virtual addresses are physical ones: paging is off, or maps one to one.
    #[must_use]
    pub const fn identity() -> Self {
        Self { offset: 0 }
    }

    /// Physical address 0 is, or would be, at the virtual address `offset`.
    /// The sum wraps, so the map may also lie below the physical addresses.
    /// A multiple of the frame size.
    #[must_use]
    pub const fn with_offset(offset: usize) -> Self {
        Self { offset }
    }

    /// What is added to a physical address.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// The virtual address of a physical one. `None` for what this machine's
    /// pointers cannot reach, and for the one address that would be null.
    ///
    /// Its provenance is that of whatever was exposed at the address, which in
    /// a kernel is all memory that Rust's abstract machine does not know of.
    #[must_use]
    pub fn pointer(self, address: PhysAddr) -> Option<NonNull<u8>> {
        let address = usize::try_from(address.0).ok()?.wrapping_add(self.offset);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address))
    }

    /// The physical address behind a pointer into the direct map.
    #[must_use]
    pub fn physical(self, pointer: NonNull<u8>) -> PhysAddr {
        PhysAddr(pointer.addr().get().wrapping_sub(self.offset) as u64)
    }

    /// Whether the virtual range of the bytes from `first` to `last` does not
    /// wrap and has no null in it.
    pub(super) fn covers(self, first: u64, last: u64) -> bool {
        let start = self.pointer(PhysAddr(first));
        let length = usize::try_from(last).is_ok().then_some(last - first);
        start.zip(length).is_some_and(|(start, length)| {
            // At most `last`, which fits.
            start.addr().get().checked_add(length as usize).is_some()
        })
    }
}
