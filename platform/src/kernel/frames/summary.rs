//! What is known of the free runs in a piece of a bitmap, and in one word.
//!
//! ```text
//! frames   1 1 0 1 1 1 0 0 1 1 1 1 0 1       1: free
//!          └─┘     └──────────┘      └
//!        prefix 2     longest 4    suffix 1
//! ```

/// Frames of a word.
pub(super) const WORD: u64 = u64::BITS as u64;

/// Free runs of a piece: at its start, at its end, and the longest in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub prefix: u32,
    pub suffix: u32,
    pub longest: u32,
}

impl Summary {
    /// Nothing is free.
    pub(super) const NONE: Self = Self { prefix: 0, suffix: 0, longest: 0 };

    /// Of one word, whose bit 0 is the first frame.
    #[inline]
    pub(super) fn of_word(word: u64) -> Self {
        Self {
            prefix: word.trailing_ones(),
            suffix: word.leading_ones(),
            longest: longest_run(word),
        }
    }

    /// Of the pieces in order, `size` frames each.
    #[inline]
    pub(super) fn of_pieces(pieces: impl Iterator<Item = Self>, size: u32) -> Self {
        // `whole` while everything up to here is free.
        let (mut all, mut whole) = (Self::NONE, true);
        for piece in pieces {
            let across = all.suffix + piece.prefix;
            all.longest = all.longest.max(piece.longest).max(across);
            if whole {
                all.prefix = across;
            }
            let full = piece.prefix == size;
            whole &= full;
            all.suffix = if full { across } else { piece.suffix };
        }
        all
    }
}

/// Length of the longest run of ones. Twelve steps at most: runs of 1, 2, 4,
/// … are found by doubling, and the longest is put together from these.
#[inline]
fn longest_run(word: u64) -> u32 {
    if word == 0 || word == u64::MAX {
        return word.count_ones();
    }
    // Bit i of `starts[k]`: a run of 2^k starts at i.
    let mut starts = [word; 6];
    let mut top = 0;
    for k in 1..6 {
        let next = starts[k - 1] & starts[k - 1] >> (1 << (k - 1));
        if next == 0 {
            break;
        }
        starts[k] = next;
        top = k;
    }
    let (mut found, mut length) = (starts[top], 1 << top);
    for k in (0..top).rev() {
        let longer = found & starts[k] >> length;
        if longer != 0 {
            (found, length) = (longer, length + (1 << k));
        }
    }
    length
}

/// The bits at which a run of `length` ones starts, 1 to 64.
#[inline]
pub(super) fn starts_of_runs(mut word: u64, length: u64) -> u64 {
    let mut have = 1;
    while have < length {
        let more = have.min(length - have);
        word &= word >> more;
        have += more;
    }
    word
}

/// The bits of word `index` that the frames from `start` to `end` are in.
#[inline]
pub(super) fn mask(index: usize, start: u64, end: u64) -> u64 {
    let base = index as u64 * WORD;
    let from = start.saturating_sub(base).min(WORD);
    let to = end.saturating_sub(base).min(WORD);
    if from >= to { 0 } else { u64::MAX >> (WORD - (to - from)) << from }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of single bits, by definition.
    fn slowly(bits: impl Iterator<Item = bool>) -> Summary {
        let one = Summary { prefix: 1, suffix: 1, longest: 1 };
        Summary::of_pieces(bits.map(|free| if free { one } else { Summary::NONE }), 1)
    }

    #[test]
    fn a_word_is_summed_up_as_its_bits_are() {
        let mut word = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..20_000u32 {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            // Dense, sparse, and long runs.
            let word = match round % 4 {
                0 => word,
                1 => word | word << 1 | word >> 3 | word.rotate_left(17),
                2 => word & word.rotate_left(9),
                _ => u64::MAX >> (word % 64) << (word >> 8 & 63),
            };
            let seen = Summary::of_word(word);
            assert_eq!(seen, slowly((0..64).map(|bit| word >> bit & 1 == 1)), "{word:#x}");
            for length in 1..=64 {
                let runs = starts_of_runs(word, length);
                assert_eq!(runs != 0, seen.longest >= length as u32, "{word:#x} {length}");
                if runs != 0 {
                    let run = mask(0, 0, length) << runs.trailing_zeros();
                    assert_eq!(run & word, run, "{word:#x} {length}");
                }
            }
        }
        assert_eq!(Summary::of_word(0), Summary::NONE);
    }

    #[test]
    fn masks_cut_a_range_into_words() {
        for (start, end) in [(0, 0), (0, 1), (3, 64), (0, 64), (63, 65), (64, 200), (70, 71)] {
            for index in 0..4 {
                let bits = (0..64u64).filter(|bit| (start..end).contains(&(index * 64 + bit)));
                let expected = bits.fold(0, |mask, bit| mask | 1 << bit);
                assert_eq!(mask(index as usize, start, end), expected, "{start}..{end} {index}");
            }
        }
    }
}
