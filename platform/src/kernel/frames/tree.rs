//! Which frames of one bank are free: a bitmap, and over it a tree of
//! summaries that leads to the first run that fits.
//!
//! ```text
//! level 2   ┌──────────────── 4096 frames ────────────────┐  prefix, longest,
//! level 1   ┌─ 512 ─┬─ 512 ─┬ …                           ┐  suffix: 12 bytes
//! level 0   64 64 64 64 64 64 64 64 │ 64 …                   one word each
//! ```
//!
//! A run that crosses pieces shows as the suffix of one and the prefix of the
//! next; any other is inside one piece, whose `longest` says so. Hence a
//! search looks at eight pieces a level.

use super::summary::{Summary, WORD, mask, starts_of_runs};

/// Pieces of a node.
const FAN: usize = 8;
/// Levels above the words of the largest tree: 64 * 8^9 > 2^32 frames.
const LEVELS: usize = 9;

/// Where the nodes of each level begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    frames: u32,
    words: usize,
    /// Levels above the words, at least 1. The last has one node.
    depth: usize,
    starts: [usize; LEVELS],
    nodes: usize,
}

impl Shape {
    /// Of a tree for `frames` frames.
    pub(super) fn new(frames: u32) -> Self {
        let words = (frames as usize).div_ceil(WORD as usize);
        let (mut starts, mut nodes, mut depth) = ([0; LEVELS], 0, 0);
        let mut pieces = words;
        for start in &mut starts {
            *start = nodes;
            pieces = pieces.div_ceil(FAN);
            nodes += pieces;
            depth += 1;
            if pieces <= 1 {
                break;
            }
        }
        Self { frames, words, depth, starts, nodes }
    }

    /// Words of the bitmap.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Nodes of all levels.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Bytes of both.
    pub(super) fn bytes(&self) -> usize {
        self.words * size_of::<u64>() + self.nodes * size_of::<Summary>()
    }
}

/// What fits: `len` frames that start at a multiple of `align`, where frame 0
/// of the tree is `phase` past such a multiple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    len: u64,
    align: u64,
    phase: u64,
}

impl Fit {
    /// `align` is a power of two of at most 2^63; `first` is the number of
    /// the tree's frame 0.
    pub(super) fn new(len: u64, align: u64, first: u64) -> Self {
        Self { len, align, phase: first & (align - 1) }
    }

    /// The first aligned frame from `frame` on, unless there is none.
    #[inline]
    fn aligned(&self, frame: u64) -> Option<u64> {
        let sum = frame.checked_add(self.phase)?.checked_add(self.align - 1)?;
        Some((sum & !(self.align - 1)) - self.phase)
    }

    /// The first place between `start` and `end`.
    #[inline]
    fn place(&self, start: u64, end: u64) -> Option<u64> {
        let at = self.aligned(start)?;
        (at <= end && end - at >= self.len).then_some(at)
    }
}

/// Bitmap and summaries. Nothing is free at first.
#[derive(Debug)]
pub(super) struct Tree {
    /// F2: a bit is 1 exactly when its frame is free.
    words: &'static mut [u64],
    /// F3: every node sums up its pieces.
    nodes: &'static mut [Summary],
    shape: Shape,
}

impl Tree {
    /// Over tables of the lengths that `shape` says, all zero.
    pub(super) fn new(
        shape: Shape,
        words: &'static mut [u64],
        nodes: &'static mut [Summary],
    ) -> Self {
        Self { words, nodes, shape }
    }

    /// Frames, free or not.
    pub(super) fn frames(&self) -> u32 {
        self.shape.frames
    }

    /// Length of the longest free run.
    #[inline]
    pub(super) fn longest(&self) -> u32 {
        self.nodes.last().map_or(0, |root| root.longest)
    }

    /// The lowest place that fits.
    #[inline]
    pub(super) fn find(&self, fit: &Fit) -> Option<u64> {
        if u64::from(self.longest()) < fit.len {
            return None;
        }
        self.find_in(self.shape.depth, 0, fit)
    }

    /// Looks in a node. Without alignment the first piece that is entered has
    /// what fits; with it, one may be entered in vain.
    fn find_in(&self, level: usize, index: usize, fit: &Fit) -> Option<u64> {
        let size = span(level - 1);
        // Free frames right before the piece.
        let mut before = 0;
        for piece in index * FAN..(index + 1) * FAN {
            let start = piece as u64 * size;
            let found = if level == 1 {
                let word = self.words.get(piece).copied().unwrap_or(0);
                let prefix = u64::from(word.trailing_ones());
                let found = fit.place(start - before, start + prefix);
                let found = found.or_else(|| find_in_word(word, start, fit));
                let whole = word == u64::MAX;
                before = u64::from(word.leading_ones()) + if whole { before } else { 0 };
                found
            } else {
                let node = self.node(level - 1, piece);
                let prefix = u64::from(node.prefix);
                let mut found = fit.place(start - before, start + prefix);
                let long = u64::from(node.longest) >= fit.len;
                if found.is_none() && long && fit.place(start, start + size).is_some() {
                    found = self.find_in(level - 1, piece, fit);
                }
                let whole = prefix == size;
                before = u64::from(node.suffix) + if whole { before } else { 0 };
                found
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether all frames from `start` to `end` are free.
    pub(super) fn all_free(&self, start: u64, end: u64) -> bool {
        self.all(start, end, |word, mask| word & mask == mask)
    }

    /// Whether none of them is.
    pub(super) fn all_taken(&self, start: u64, end: u64) -> bool {
        self.all(start, end, |word, mask| word & mask == 0)
    }

    fn all(&self, start: u64, end: u64, test: impl Fn(u64, u64) -> bool) -> bool {
        touched(start, end).all(|index| {
            self.words.get(index).is_some_and(|&word| test(word, mask(index, start, end)))
        })
    }

    /// Takes the frames from `start` to `end`, all of which are free.
    pub(super) fn take(&mut self, start: u64, end: u64) {
        self.change(start, end, |word, mask| word & !mask);
    }

    /// Makes the frames from `start` to `end` free.
    pub(super) fn give(&mut self, start: u64, end: u64) {
        self.change(start, end, |word, mask| word | mask);
    }

    fn change(&mut self, start: u64, end: u64, to: impl Fn(u64, u64) -> u64) {
        for index in touched(start, end) {
            if let Some(word) = self.words.get_mut(index) {
                *word = to(*word, mask(index, start, end));
            }
        }
        self.sum_up(start, end);
    }

    /// Restores F3 above changed words, up to where nothing changes.
    fn sum_up(&mut self, start: u64, end: u64) {
        for level in 1..=self.shape.depth {
            let size = span(level);
            let mut changed = false;
            for index in (start / size) as usize..end.div_ceil(size) as usize {
                let summary = self.summary(level, index);
                let at = self.shape.starts[level - 1] + index;
                if let Some(node) = self.nodes.get_mut(at)
                    && *node != summary
                {
                    *node = summary;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// What a node has to be.
    fn summary(&self, level: usize, index: usize) -> Summary {
        let pieces = index * FAN..(index + 1) * FAN;
        if level == 1 {
            let words = self.words.get(pieces.start..pieces.end.min(self.shape.words));
            let words = words.unwrap_or(&[]).iter();
            // The common cases, in which nothing is to be added up.
            if words.as_slice().iter().all(|&word| word == 0) {
                return Summary::NONE;
            }
            let padding = FAN - words.len();
            let pieces = words.map(|&word| Summary::of_word(word));
            let padding = core::iter::repeat_n(Summary::NONE, padding);
            return Summary::of_pieces(pieces.chain(padding), WORD as u32);
        }
        Summary::of_pieces(pieces.map(|piece| self.node(level - 1, piece)), span(level - 1) as u32)
    }

    /// A node of level 1 or above. Beyond the bank nothing is free.
    #[inline]
    fn node(&self, level: usize, index: usize) -> Summary {
        let at = self.shape.starts[level - 1] + index;
        let end = self.shape.starts.get(level).copied().filter(|_| level < self.shape.depth);
        let inside = at < end.unwrap_or(self.shape.nodes);
        self.nodes.get(at).copied().filter(|_| inside).unwrap_or(Summary::NONE)
    }
}

/// Frames of a piece of a level.
#[inline]
fn span(level: usize) -> u64 {
    WORD << (3 * level)
}

/// The words that frames from `start` to `end` are in.
#[inline]
fn touched(start: u64, end: u64) -> core::ops::Range<usize> {
    (start / WORD) as usize..end.div_ceil(WORD) as usize
}

/// The first place inside a word whose frames begin at `base`.
#[inline]
fn find_in_word(word: u64, base: u64, fit: &Fit) -> Option<u64> {
    if fit.len > WORD {
        return None;
    }
    let mut starts = starts_of_runs(word, fit.len);
    while starts != 0 {
        let start = base + u64::from(starts.trailing_zeros());
        let aligned = fit.aligned(start)?;
        if aligned == start {
            return Some(start);
        }
        let skip = aligned - base;
        if skip >= WORD {
            return None;
        }
        starts &= u64::MAX << skip;
    }
    None
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
