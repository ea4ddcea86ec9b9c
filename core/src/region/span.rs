//! Consecutive granules of a region.

/// The granules from `start` to before `end`; none where these are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    /// Never below `start`.
    pub end: u32,
}

impl Span {
    /// No granule.
    pub(crate) const NONE: Self = Self { start: 0, end: 0 };
    /// Every granule there can be: all of whatever run it is said of.
    pub(crate) const ALL: Self = Self { start: 0, end: u32::MAX };

    /// How many.
    #[inline]
    pub(crate) fn len(self) -> u32 {
        self.end - self.start
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Those of the run of `len` granules at `start`.
    #[inline]
    pub(crate) fn within(self, start: u32, len: u32) -> Self {
        let (start, end) = (self.start.max(start), self.end.min(start + len));
        if start < end { Self { start, end } } else { Self::NONE }
    }

    /// Both, and all between them.
    #[inline]
    pub(crate) fn hull(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// All of the units of `unit` granules (a power of two) that it touches,
    /// where `phase` is the absolute number of granule 0.
    pub(crate) fn widened(self, unit: u32, phase: usize) -> Self {
        let end = self.end.saturating_add(up(self.end, unit, phase));
        Self { start: self.start.saturating_sub(down(self.start, unit, phase)), end }
    }

    /// The units that it covers, likewise.
    pub(crate) fn narrowed(self, unit: u32, phase: usize) -> Self {
        let start = self.start.saturating_add(up(self.start, unit, phase));
        let end = self.end.saturating_sub(down(self.end, unit, phase));
        if start < end { Self { start, end } } else { Self::NONE }
    }

    /// Its end, at most `most` granules of it.
    pub(crate) fn last(self, most: u32) -> Self {
        Self { start: self.end - self.len().min(most), ..self }
    }
}

/// Granules from `at` up to a multiple of `unit`.
fn up(at: u32, unit: u32, phase: usize) -> u32 {
    (phase.wrapping_add(at as usize).wrapping_neg() & (unit as usize - 1)) as u32
}

/// Granules from a multiple of `unit` up to `at`.
fn down(at: u32, unit: u32, phase: usize) -> u32 {
    (phase.wrapping_add(at as usize) & (unit as usize - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(start: u32, end: u32) -> Span {
        Span { start, end }
    }

    #[test]
    fn spans_meet_and_join() {
        assert_eq!(span(3, 9).within(5, 10), span(5, 9));
        assert_eq!(span(3, 9).within(9, 10), Span::NONE);
        assert_eq!(Span::ALL.within(7, 2), span(7, 9));
        assert_eq!(span(3, 4).hull(span(8, 9)), span(3, 9));
        assert_eq!(Span::NONE.hull(span(8, 9)), span(8, 9));
        assert_eq!(span(8, 9).hull(Span::NONE), span(8, 9));
        assert_eq!(span(3, 9).last(2), span(7, 9));
        assert_eq!(span(3, 9).last(20), span(3, 9));
    }

    #[test]
    fn spans_are_rounded_to_units_by_their_absolute_place() {
        assert_eq!(span(5, 9).widened(4, 0), span(4, 12));
        assert_eq!(span(5, 9).narrowed(4, 0), Span::NONE);
        assert_eq!(span(3, 9).narrowed(4, 0), span(4, 8));
        // Granule 0 is the second of a unit.
        assert_eq!(span(0, 9).widened(4, 1), span(0, 11));
        assert_eq!(span(0, 9).narrowed(4, 1), span(3, 7));
        assert_eq!(span(5, 9).widened(1, 3), span(5, 9));
        assert_eq!(span(4, 8).narrowed(4, 0), span(4, 8));
    }
}
