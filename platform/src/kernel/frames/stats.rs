//! Counts, and how a person reads them.

use core::fmt;

use granule_core::provider::Node;

use super::address::PhysAddr;
use super::request::FrameFlags;

/// Counts of one bank. Its memory is `frames + tables` frames long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BankStats {
    /// Its first frame.
    pub start: PhysAddr,
    /// What is special about it.
    pub flags: FrameFlags,
    /// The node of memory it is on.
    pub node: Node,
    /// Bytes of a frame.
    pub frame_size: usize,
    /// Frames to hand out, free or taken.
    pub frames: usize,
    /// Frames that are free.
    pub free: usize,
    /// Frames that the tables take, at the bank's end.
    pub tables: usize,
    /// Frames of the longest free run.
    pub longest: usize,
    /// Runs handed out since the start, [reserved](super::Frames::reserve_range)
    /// ones among them.
    pub allocations: u64,
    /// Runs taken back since the start.
    pub frees: u64,
}

impl fmt::Display for BankStats {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |frames: usize| Bytes(frames as u64 * self.frame_size as u64);
        write!(
            f,
            "{}  {:>10} of {:>10} free, at most {:>10} together; tables {:>8}; {}",
            self.start,
            bytes(self.free),
            bytes(self.frames),
            bytes(self.longest),
            bytes(self.tables),
            self.flags,
        )?;
        if self.node == Node(0) { Ok(()) } else { write!(f, ", node {}", self.node.0) }
    }
}

/// Counts of all banks. Each bank is counted by itself, one after the other:
/// the sums are exact when nobody else allocates meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameStats {
    /// Bytes of a frame; 0 before `init`.
    pub frame_size: usize,
    /// Banks in use.
    pub banks: usize,
    /// Frames to hand out, free or taken.
    pub frames: usize,
    /// Frames that are free.
    pub free: usize,
    /// Frames that tables take.
    pub tables: usize,
    /// Frames of the longest free run in any bank.
    pub longest: usize,
    /// Runs handed out since the start, reserved ones among them.
    pub allocations: u64,
    /// Runs taken back since the start.
    pub frees: u64,
}

impl FrameStats {
    pub(super) fn add(&mut self, bank: &BankStats) {
        self.banks += 1;
        self.frames += bank.frames;
        self.free += bank.free;
        self.tables += bank.tables;
        self.longest = self.longest.max(bank.longest);
        self.allocations += bank.allocations;
        self.frees += bank.frees;
    }
}

impl fmt::Display for FrameStats {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |frames: usize| Bytes(frames as u64 * self.frame_size as u64);
        write!(
            f,
            "{} of {} free in frames of {}, at most {} together; {} bank{}, tables {}; \
             {} runs allocated, {} freed",
            bytes(self.free),
            bytes(self.frames),
            Bytes(self.frame_size as u64),
            bytes(self.longest),
            self.banks,
            if self.banks == 1 { "" } else { "s" },
            bytes(self.tables),
            self.allocations,
            self.frees,
        )
    }
}

/// A number of bytes for people: `640 KiB`, `1.5 GiB`. Padded as asked.
#[derive(Clone, Copy)]
pub(super) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let unit = self.0.checked_ilog2().unwrap_or(0) / 10;
        let whole = self.0 >> (10 * unit);
        // Tenths, rounded down: what is said is there.
        let rest = self.0 - (whole << (10 * unit));
        let tenth = if unit == 0 { 0 } else { (rest >> (10 * (unit - 1))) * 10 / 1024 };
        let name = UNITS.get(unit as usize).copied().unwrap_or("B");
        let digits = whole.checked_ilog10().unwrap_or(0) as usize + 1;
        let shown = digits + if tenth == 0 { 0 } else { 2 } + 1 + name.len();
        for _ in shown..f.width().unwrap_or(0) {
            f.write_str(" ")?;
        }
        match tenth {
            0 => write!(f, "{whole} {name}"),
            _ => write!(f, "{whole}.{tenth} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn bytes_are_read_at_a_glance() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 60, "1 EiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(std::format!("{}", Bytes(bytes)), text);
            assert_eq!(std::format!("{:>12}", Bytes(bytes)), std::format!("{text:>12}"));
        }
    }
}
