//! What is refused, and why. A call that is refused has changed nothing.

use core::fmt;

use super::address::PhysAddr;
use super::memory_map::MemoryRange;

/// What is wrong with a memory map. Ranges are those of the caller, for the
/// report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The frame size is not a power of two of at least 4 KiB (and at most
    /// 1 GiB).
    FrameSize(usize),
    /// The direct map's offset is not a multiple of the frame size.
    MapOffset(usize),
    /// The range has no bytes.
    Empty(MemoryRange),
    /// The range goes on beyond the last address there is. (To end with it is
    /// allowed.)
    Wraps(MemoryRange),
    /// Both are usable, and share bytes; or the first shares bytes with
    /// memory that was given before, which the second is a bank of.
    Overlap(MemoryRange, MemoryRange),
    /// The stretch that begins in this range needs one more bank than there
    /// are. (Holes and the limit of 4 GiB divide ranges.)
    TooManyBanks(MemoryRange),
    /// A stretch of 2^32 frames or more begins in this range.
    TooLarge(MemoryRange),
    /// The direct map does not reach all of the stretch that begins in this
    /// range: memory beyond the pointers of a 32-bit machine.
    NotMapped(MemoryRange),
    /// No stretch is left that holds its tables and a frame.
    NothingUsable,
    /// `init` succeeded before.
    AlreadyInitialised,
    /// `add` before `init`.
    NotInitialised,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameSize(bytes) => {
                write!(f, "frame size {bytes:#x} is no power of two from 4 KiB to 1 GiB")
            }
            Self::MapOffset(offset) => {
                write!(f, "direct map at {offset:#x}: not a multiple of the frame size")
            }
            Self::Empty(range) => write!(f, "{range}: empty"),
            Self::Wraps(range) => write!(f, "{range}: wraps around the address space"),
            Self::Overlap(one, other) => write!(f, "{one}: overlaps {other}"),
            Self::TooManyBanks(range) => write!(f, "{range}: needs one more bank than there are"),
            Self::TooLarge(range) => write!(f, "{range}: too many frames for one bank"),
            Self::NotMapped(range) => write!(f, "{range}: beyond the direct map"),
            Self::NothingUsable => f.write_str("no range holds its tables and a frame"),
            Self::AlreadyInitialised => f.write_str("initialised already"),
            Self::NotInitialised => f.write_str("not initialised yet"),
        }
    }
}

impl core::error::Error for MapError {}

/// Why frames are not handed out, or not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// No bank that qualifies has such a run free; or nothing was initialised.
    OutOfFrames,
    /// No frames, more than there can be, or an alignment that is no power of
    /// two.
    BadRequest,
    /// The address is not a multiple of the frame size.
    Misaligned(PhysAddr),
    /// No frame of ours is at the address: it is foreign, or a table.
    NotOurs(PhysAddr),
    /// The run starts in a bank and goes on beyond it.
    LeavesBank(PhysAddr),
    /// Some or all frames of the run to be freed are free already.
    NotTaken(PhysAddr),
    /// Some or all frames of the range to be reserved are taken.
    NotFree(PhysAddr),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFrames => f.write_str("out of frames"),
            Self::BadRequest => f.write_str("a request that no memory could meet"),
            Self::Misaligned(at) => write!(f, "{at}: not the start of a frame"),
            Self::NotOurs(at) => write!(f, "{at}: no frame of this allocator"),
            Self::LeavesBank(at) => write!(f, "{at}: the run leaves its bank"),
            Self::NotTaken(at) => write!(f, "{at}: frames of the run are free"),
            Self::NotFree(at) => write!(f, "{at}: frames of the range are taken"),
        }
    }
}

impl core::error::Error for FrameError {}
