//! Faults of the caller or the provider that the allocator can name.

use core::fmt;

use super::origin::Origin;

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
    /// The header before the block is damaged: something was written before
    /// its start, or past the end of the block before it.
    WrittenBeforeStart,
    /// The bytes behind the block are damaged: something was written past its
    /// end.
    WrittenPastEnd,
    /// The block was written to after it had been freed.
    WrittenAfterFree,
    /// An access past the block's end, stopped as it happened by a guard page.
    PastEnd,
    /// An access before the block's start, stopped likewise.
    BeforeStart,
    /// An access to the block after it had been freed, stopped likewise.
    UsedAfterFree,
    /// An access to inaccessible memory of the heap where there is no block.
    Guard,
    /// A heap is used after it has ended; the pointer is its handle.
    HeapEnded,
    /// A heap whose calls were promised not to overlap is used by a second
    /// thread, or inside of a call on it; the pointer is into the heap.
    NotAlone,
    /// A free object of a slab was found where a live one must be, or the
    /// reverse: the allocator's own records contradict each other.
    Corrupted,
    /// The system has taken pages of the heap away, and does not give them back.
    MemoryLost,
}

/// What the pages at a pointer are, whether a block is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A slab of blocks of a size class, so many bytes each.
    Slab(usize),
    /// A run of so many bytes, in use for a large block.
    Run(usize),
    /// No block's: what was there has gone back to the heap.
    Free,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slab(bytes) => write!(f, "a slab of blocks of {bytes} bytes"),
            Self::Run(bytes) => write!(f, "a run of {bytes} bytes"),
            Self::Free => f.write_str("free memory"),
        }
    }
}

/// A fault and the pointer it was found with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was wrong.
    pub kind: FaultKind,
    /// Address of the block in question.
    pub address: usize,
    /// Bytes that the block was asked for with, where that is known.
    pub size: Option<usize>,
    /// The size class or the run that the block is in, where it is in one of the heap's.
    pub place: Option<Place>,
    /// The address that was accessed, where a guard page stopped it.
    pub accessed: Option<usize>,
    /// Who allocated the block, where that is tracked.
    pub allocated: Option<Origin>,
    /// Who freed it.
    pub freed: Option<Origin>,
}

impl Fault {
    /// A fault of which nothing is known but the pointer.
    #[must_use]
    pub fn new(kind: FaultKind, pointer: *const u8) -> Self {
        let (size, place, accessed, allocated, freed) = (None, None, None, None, None);
        Self { kind, address: pointer.addr(), size, place, accessed, allocated, freed }
    }
}

impl FaultKind {
    /// What to look at next.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::DoubleFree => "look for a second owner of the block",
            Self::InvalidPointer => {
                "free what was allocated, by its first byte, through the same allocator"
            }
            Self::WrongLayout => "free a block with the size and alignment it was allocated with",
            Self::WrittenBeforeStart => {
                "look at indices below 0, and at what is written to the block before it"
            }
            Self::WrittenPastEnd => "look at what is written to the block, and at its size",
            Self::WrittenAfterFree => "look for pointers that are kept after the block is freed",
            Self::PastEnd => {
                "look at the access, by a debugger or its core, and at the block's size"
            }
            Self::BeforeStart => {
                "look at the access, by a debugger or its core, for indices below 0"
            }
            Self::UsedAfterFree => "look for who kept the pointer; a debugger shows the access",
            Self::Guard => "look at the access, by a debugger or its core, for wild pointers",
            Self::HeapEnded => "look for handles that are kept after the heap is destroyed",
            Self::NotAlone => {
                "look for signal or interrupt handlers that allocate, and threads that share the heap"
            }
            Self::Corrupted => "look for wild writes; a higher tier of checks may find them",
            Self::MemoryLost => "look at the limits of memory, and at who changes them meanwhile",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoubleFree => "double free",
            Self::InvalidPointer => "invalid pointer: no block of this heap starts here",
            Self::WrongLayout => "wrong layout: the block is of another size class",
            Self::WrittenBeforeStart => "written before its start: its header is damaged",
            Self::WrittenPastEnd => "written past its end",
            Self::WrittenAfterFree => "written to after it was freed",
            Self::PastEnd => "access past its end",
            Self::BeforeStart => "access before its start",
            Self::UsedAfterFree => "use after free",
            Self::Guard => "access to a guard page of no block",
            Self::HeapEnded => "heap used after it has ended",
            Self::NotAlone => "heap of one thread used by another, or inside of a call on it",
            Self::Corrupted => "corrupted: the heap's records contradict each other",
            Self::MemoryLost => "memory lost: the system has unmapped pages it was to move",
        })
    }
}

impl fmt::Display for Fault {
    /// One line: `0x7f…: double free (a block of 24 bytes), allocated by thread
    /// 17 at 0x55…, freed by thread 17 at 0x55…`; where the block's size is not known,
    /// `(in a slab of blocks of 32 bytes)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}", self.address, self.kind)?;
        if let Some(accessed) = self.accessed {
            write!(f, " at {accessed:#x}")?;
        }
        if let Some(size) = self.size {
            write!(f, " (a block of {size} bytes)")?;
        } else if let Some(place) = self.place {
            write!(f, " (in {place})")?;
        }
        let known = |origin: &Origin| origin.is_known();
        if let Some(origin) = self.allocated.filter(known) {
            write!(f, ", allocated by {origin}")?;
        }
        match self.freed.filter(known) {
            Some(origin) => write!(f, ", freed by {origin}"),
            None => Ok(()),
        }
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
