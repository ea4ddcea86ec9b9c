//! Sizes of pages.

/// How large the pages of the MMU are (Arm: the translation granule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// 4 KiB.
    Kib4,
    /// 16 KiB.
    Kib16,
    /// 64 KiB.
    Kib64,
}

impl PageSize {
    /// The bytes of a page.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.shift()
    }

    /// The logarithm of its bytes to base 2.
    pub(crate) const fn shift(self) -> u32 {
        match self {
            Self::Kib4 => 12,
            Self::Kib16 => 14,
            Self::Kib64 => 16,
        }
    }

    /// From the argument `page=`.
    pub(crate) fn from_argument(argument: &str) -> Option<Self> {
        match argument {
            "4k" => Some(Self::Kib4),
            "16k" => Some(Self::Kib16),
            "64k" => Some(Self::Kib64),
            _ => None,
        }
    }
}
