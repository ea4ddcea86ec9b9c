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
        if level == 1 {
            return self.find_in_words(index, fit);
        }
        let size = span(level - 1);
        // Free frames right before the piece.
        let mut before = 0;
        for (node, piece) in pieces(self.level(level - 1), index).iter().zip(index * FAN..) {
            let start = piece as u64 * size;
            let prefix = u64::from(node.prefix);
            if before + prefix >= fit.len
                && let Some(found) = fit.place(start - before, start + prefix)
            {
                return Some(found);
            }
            if u64::from(node.longest) >= fit.len
                && fit.place(start, start + size).is_some()
                && let Some(found) = self.find_in(level - 1, piece, fit)
            {
                return Some(found);
            }
            before = u64::from(node.suffix) + if prefix == size { before } else { 0 };
        }
        None
    }

    /// The same in the words of a node of level 1.
    fn find_in_words(&self, index: usize, fit: &Fit) -> Option<u64> {
        let mut before = 0;
        for (&word, piece) in pieces(self.words, index).iter().zip(index * FAN..) {
            let start = piece as u64 * WORD;
            let prefix = u64::from(word.trailing_ones());
            if before + prefix >= fit.len
                && let Some(found) = fit.place(start - before, start + prefix)
            {
                return Some(found);
            }
            let found = find_in_word(word, start, fit);
            if found.is_some() {
                return found;
            }
            before = u64::from(word.leading_ones()) + if word == u64::MAX { before } else { 0 };
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
                let start = self.shape.starts.get(level - 1).copied().unwrap_or(0);
                if let Some(node) = self.nodes.get_mut(start + index)
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

    /// What a node has to be. The last of a level may have fewer pieces:
    /// nothing follows it, so nobody asks how far its suffix is from its end.
    #[inline]
    fn summary(&self, level: usize, index: usize) -> Summary {
        let size = span(level - 1) as u32;
        if level == 1 {
            let words = pieces(self.words, index).iter();
            Summary::of_pieces(words.map(|&word| Summary::of_word(word)), size)
        } else {
            let nodes = pieces(self.level(level - 1), index).iter();
            Summary::of_pieces(nodes.copied(), size)
        }
    }

    /// The nodes of a level, 1 or above.
    #[inline]
    fn level(&self, level: usize) -> &[Summary] {
        let Shape { starts, nodes, depth, .. } = &self.shape;
        let end = if level < *depth { starts.get(level) } else { Some(nodes) };
        let range = starts.get(level - 1).zip(end);
        range.and_then(|(&start, &end)| self.nodes.get(start..end)).unwrap_or(&[])
    }
}

/// The pieces of node `index`: fewer than [`FAN`] at the end of the bank.
#[inline]
fn pieces<T>(level: &[T], index: usize) -> &[T] {
    let rest = level.get(index * FAN..).unwrap_or(&[]);
    rest.get(..FAN).unwrap_or(rest)
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
    if word == 0 || fit.len > WORD {
        return None;
    }
    let skip = fit.aligned(base)? - base;
    if skip >= WORD {
        return None;
    }
    // One bit each `align`; the first alone from 64 on.
    let every = if fit.align < WORD { u64::MAX / (u64::MAX >> (WORD - fit.align)) } else { 1 };
    let starts = starts_of_runs(word, fit.len) & every << skip;
    (starts != 0).then(|| base + u64::from(starts.trailing_zeros()))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
