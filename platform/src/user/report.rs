//! The report of a fault, built without allocating.

use core::fmt::Write;

use granule_core::base::fault::Fault;

/// The text of a report. What does not fit is cut off: a report cut short is
/// still a report.
pub(crate) struct Report {
    bytes: [u8; 512],
    len: usize,
}

impl Report {
    /// What is wrong, and where to look.
    pub(crate) fn of(fault: Fault) -> Self {
        let mut report = Self { bytes: [0; 512], len: 0 };
        // Cut off at worst.
        let _ = writeln!(report, "granule: {fault}\ngranule: {}", fault.kind.advice());
        report
    }

    /// Its lines.
    pub(crate) fn text(&self) -> &[u8] {
        // Never longer than the buffer.
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Report {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(core::fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}
