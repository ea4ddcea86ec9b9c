//! Faults of the caller or the provider that the allocator can name.

use core::fmt;

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The block is free already.
    DoubleFree,
    /// No block of this heap starts at the pointer.
    InvalidPointer,
    /// The block is of another size class than the layout given says.
    WrongLayout,
    /// A free object of a slab was found where a live one must be, or the
    /// reverse: the allocator's own records contradict each other.
    Corrupted,
}

/// A fault and the pointer it was found with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was wrong.
    pub kind: FaultKind,
    /// Address of the block in question.
    pub address: usize,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, pointer: *const u8) -> Self {
        Self { kind, address: pointer.addr() }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoubleFree => "double free",
            Self::InvalidPointer => "invalid pointer: no block of this heap starts here",
            Self::WrongLayout => "wrong layout: the block is of another size class",
            Self::Corrupted => "corrupted: the heap's records contradict each other",
        })
    }
}

impl fmt::Display for Fault {
    /// One line: `0x7f…: double free`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}", self.address, self.kind)
    }
}

/// Memory could not be had: the provider refused, or the request is larger
/// than any block can be. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}
