//! One bank: a stretch of frames with its tables at its end.
//!
//! ```text
//! first                                      first + frames
//! ├─ frames to hand out ────────────────────┼─ words │ nodes ┤
//! ```
//! At the end, because banks tend to start at large powers of two: so does
//! the first run that is handed out then.

use granule_core::provider::Node;

use super::address::{DirectMap, PhysAddr};
use super::error::{FrameError, MapError};
use super::memory_map::Stretch;
use super::request::FrameFlags;
use super::stats::BankStats;
use super::summary::Summary;
use super::tree::{Fit, Shape, Tree};

/// How a stretch becomes a bank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Number of the first frame.
    pub first: u64,
    /// Frames to hand out, at least 1.
    pub frames: u32,
    /// Frames for tables, behind these.
    pub tables: u32,
    pub flags: FrameFlags,
    pub node: Node,
    shape: Shape,
}

impl Plan {
    /// `None` for a stretch too short for its tables and a frame.
    pub(super) fn of(stretch: &Stretch, shift: u32) -> Result<Option<Self>, MapError> {
        let all = stretch.end - stretch.first;
        let all = u32::try_from(all).map_err(|_| MapError::TooLarge(stretch.entry))?;
        // A little more than needed: for all frames, not all but the tables.
        let tables = Shape::new(all).bytes().div_ceil(1 << shift) as u32;
        let frames = all.saturating_sub(tables);
        let shape = Shape::new(frames);
        let plan = Self {
            first: stretch.first,
            frames,
            tables,
            flags: stretch.flags,
            node: stretch.node,
            shape,
        };
        Ok((frames > 0).then_some(plan))
    }
}

/// Free and taken frames of a bank, by number.
#[derive(Debug)]
pub(super) struct Bank {
    first: u64,
    tree: Tree,
    /// F4: the bits of the tree that are 1.
    free: u32,
    tables: u32,
    flags: FrameFlags,
    node: Node,
    allocations: u64,
    frees: u64,
}

impl Bank {
    /// Writes the tables; all frames are free. `None` when the direct map
    /// does not reach them.
    ///
    /// # Safety
    ///
    /// Caller: the plan's frames are memory that is nobody else's, for ever,
    /// readable and writable at their addresses in the direct map.
    pub(super) unsafe fn create(plan: &Plan, shift: u32, direct: DirectMap) -> Option<Self> {
        let start = (plan.first + u64::from(plan.frames)) << shift;
        let start = direct.pointer(PhysAddr::new(start))?;
        let (words, nodes) = (plan.shape.words(), plan.shape.nodes());
        let words_at = start.cast::<u64>();
        // SAFETY: F1, the plan keeps frames of the bank for tables of the
        // shape's size, which are nobody else's by the contract. They start
        // at a frame, hence aligned for words, and the nodes, whose alignment
        // is less, follow a whole number of words. Zero is a valid value of
        // both, and the slices do not overlap.
        let (words, nodes) = unsafe {
            start.write_bytes(0, plan.shape.bytes());
            let nodes_at = words_at.add(words).cast::<Summary>();
            let words = core::slice::from_raw_parts_mut(words_at.as_ptr(), words);
            (words, core::slice::from_raw_parts_mut(nodes_at.as_ptr(), nodes))
        };
        let mut tree = Tree::new(plan.shape, words, nodes);
        tree.give(0, u64::from(plan.frames));
        let Plan { first, frames: free, tables, flags, node, .. } = *plan;
        Some(Self { first, tree, free, tables, flags, node, allocations: 0, frees: 0 })
    }

    /// Takes the lowest run of `len` frames at a multiple of `align` frames,
    /// and returns the number of its first frame.
    #[inline]
    pub(super) fn take(&mut self, len: u64, align: u64) -> Option<u64> {
        let at = self.tree.find(&Fit::new(len, align, self.first))?;
        self.note_taken(at, at + len);
        Some(self.first + at)
    }

    /// Takes the frames from `start` to `end`, which lie in the bank, if all
    /// are free.
    pub(super) fn take_at(&mut self, start: u64, end: u64, at: PhysAddr) -> Result<(), FrameError> {
        let (start, end) = (start - self.first, end - self.first);
        if !self.tree.all_free(start, end) {
            return Err(FrameError::NotFree(at));
        }
        self.note_taken(start, end);
        Ok(())
    }

    #[inline]
    fn note_taken(&mut self, start: u64, end: u64) {
        self.tree.take(start, end);
        // At most the frames of the bank, a `u32`.
        self.free -= (end - start) as u32;
        self.allocations += 1;
    }

    /// Takes the frames from `start` to `end`, which lie in the bank, back if
    /// none is free.
    #[inline]
    pub(super) fn give(&mut self, start: u64, end: u64, at: PhysAddr) -> Result<(), FrameError> {
        let (start, end) = (start - self.first, end - self.first);
        if !self.tree.all_taken(start, end) {
            return Err(FrameError::NotTaken(at));
        }
        self.tree.give(start, end);
        self.free += (end - start) as u32;
        self.frees += 1;
        Ok(())
    }

    pub(super) fn stats(&self, shift: u32) -> BankStats {
        BankStats {
            start: PhysAddr::new(self.first << shift),
            flags: self.flags,
            node: self.node,
            frame_size: 1 << shift,
            frames: self.tree.frames() as usize,
            free: self.free as usize,
            tables: self.tables as usize,
            longest: self.tree.longest() as usize,
            allocations: self.allocations,
            frees: self.frees,
        }
    }
}
