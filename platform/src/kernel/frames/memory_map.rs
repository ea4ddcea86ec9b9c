//! The boot memory map, and the stretches of usable frames in it.
//!
//! ```text
//! usable    ├──────────────────────────┤├───────────┤
//! reserved         ├────┤ kernel          ├──┤ device tree
//! stretches ├─────┤      ├─────────────────┤  ├────┤
//! ```
//!
//! Entries come in any order and number. They are not sorted, which would
//! need memory, but swept: each stretch costs a few passes over the map, and
//! maps have tens of entries.

use core::fmt;

use granule_core::provider::Node;

use super::address::{DirectMap, PhysAddr};
use super::error::MapError;
use super::request::FrameFlags;
use super::stats::Bytes;

/// What a range of the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// Memory to hand out. Its ends are rounded inwards to frames.
    Usable,
    /// Not to be touched, whatever else the map says: firmware, the kernel's
    /// image, a device tree. Its ends are rounded outwards to frames. Such
    /// ranges may overlap anything, and lie where there is no memory.
    Reserved,
}

/// One entry of a boot memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte, at any alignment.
    pub start: PhysAddr,
    /// Length, at least 1. `start + bytes` is at most 2^64.
    pub bytes: u64,
    /// What it is.
    pub kind: RangeKind,
    /// What is special about it, if it is usable.
    /// [`FrameFlags::BELOW_4G`] is computed, whatever is said here.
    pub flags: FrameFlags,
    /// The node of memory it is on, if it is usable; 0 where there is one.
    pub node: Node,
}

impl MemoryRange {
    /// Ordinary memory to hand out.
    #[must_use]
    pub const fn usable(start: PhysAddr, bytes: u64) -> Self {
        Self { start, bytes, kind: RangeKind::Usable, flags: FrameFlags::empty(), node: Node(0) }
    }

    /// Memory, or none, that is somebody else's.
    #[must_use]
    pub const fn reserved(start: PhysAddr, bytes: u64) -> Self {
        Self { start, bytes, kind: RangeKind::Reserved, flags: FrameFlags::empty(), node: Node(0) }
    }

    /// The same with other flags.
    #[must_use]
    pub const fn with_flags(self, flags: FrameFlags) -> Self {
        Self { flags, ..self }
    }

    /// The same on a node.
    #[must_use]
    pub const fn on_node(self, node: Node) -> Self {
        Self { node, ..self }
    }

    /// Last byte of a range that was checked.
    fn last(&self) -> u64 {
        self.start.get() + (self.bytes - 1)
    }

    fn check(&self) -> Result<(), MapError> {
        if self.bytes == 0 {
            return Err(MapError::Empty(*self));
        }
        let last = self.start.get().checked_add(self.bytes - 1);
        last.map(|_| ()).ok_or(MapError::Wraps(*self))
    }

    /// Whether both have a byte in common. Both were checked.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.start.get() <= other.last() && other.start.get() <= self.last()
    }

    fn is_usable(&self) -> bool {
        self.kind == RangeKind::Usable
    }

    /// In whole frames of 2^`shift` bytes: the first, and the one behind the
    /// last. Frame numbers have room for the end of the address space.
    fn frames(&self, shift: u32) -> (u64, u64) {
        let down = |address: u64| address >> shift;
        // The frame in which the last byte is, or the one behind it.
        let (first, last) = (down(self.start.get()), down(self.last()));
        match self.kind {
            RangeKind::Reserved => (first, last + 1),
            RangeKind::Usable => {
                let inside = (1 << shift) - 1;
                let skip = u64::from(self.start.get() & inside != 0);
                let whole = u64::from(self.last() & inside == inside);
                (first + skip, last + whole)
            }
        }
    }
}

impl fmt::Display for MemoryRange {
    /// `usable 0x0000_8000_0000 + 128 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_usable() { "usable" } else { "reserved" };
        write!(f, "{kind} {} + {}", self.start, Bytes(self.bytes))
    }
}

/// Checks every entry by itself and against the others.
pub(super) fn check(map: &[MemoryRange]) -> Result<(), MapError> {
    map.iter().try_for_each(MemoryRange::check)?;
    for (number, range) in map.iter().enumerate() {
        let mut before = map.iter().take(number);
        let clash =
            before.find(|other| range.is_usable() && other.is_usable() && range.overlaps(other));
        if let Some(&other) = clash {
            return Err(MapError::Overlap(*range, other));
        }
    }
    Ok(())
}

/// Consecutive usable frames of the same flags and node: a bank to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Number of the first frame, and of the one behind the last.
    pub first: u64,
    pub end: u64,
    pub flags: FrameFlags,
    pub node: Node,
    /// The entry it begins in.
    pub entry: MemoryRange,
}

/// The stretches of a checked map, lowest first.
pub(super) struct Sweep<'a> {
    map: &'a [MemoryRange],
    shift: u32,
    /// The frame that would be mapped at null, which no pointer can name.
    null: u64,
    /// Everything below is done.
    at: u64,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(map: &'a [MemoryRange], shift: u32, direct: DirectMap) -> Self {
        let null = direct.offset().wrapping_neg() as u64 >> shift;
        Self { map, shift, null, at: 0 }
    }

    /// Usable entries that have a whole frame.
    fn usable(&self) -> impl Iterator<Item = (u64, u64, &'a MemoryRange)> {
        let (map, shift) = (self.map, self.shift);
        map.iter().filter(|range| range.is_usable()).filter_map(move |range| {
            let (first, end) = range.frames(shift);
            (first < end).then_some((first, end, range))
        })
    }

    fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        let shift = self.shift;
        let reserved = self.map.iter().filter(|range| !range.is_usable());
        let null = core::iter::once((self.null, self.null + 1));
        reserved.map(move |range| range.frames(shift)).chain(null)
    }
}

impl Iterator for Sweep<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        loop {
            let ahead = self.usable().filter(|&(_, end, _)| end > self.at);
            let (first, mut end, entry) = ahead.min_by_key(|&(first, ..)| first)?;
            let first = first.max(self.at);
            let over = self.holes().filter(|&(from, to)| from <= first && first < to);
            if let Some(to) = over.map(|(_, to)| to).max() {
                self.at = to;
                continue;
            }
            let kind = |range: &MemoryRange| (range.flags - FrameFlags::BELOW_4G, range.node);
            let (own, node) = kind(entry);
            // Entries that continue it: firmware tells of one piece in many.
            while let Some(next) =
                self.usable().find(|&(from, _, range)| from == end && kind(range) == (own, node))
            {
                end = next.1;
            }
            let limit = 1 << (32 - self.shift);
            let cuts = self.holes().map(|(from, _)| from).chain([limit]);
            end = cuts.filter(|&cut| first < cut).fold(end, u64::min);
            self.at = end;
            let low = if end <= limit { FrameFlags::BELOW_4G } else { FrameFlags::empty() };
            return Some(Stretch { first, end, flags: own | low, node, entry: *entry });
        }
    }
}

#[cfg(test)]
#[path = "memory_map_tests.rs"]
mod tests;
