//! The kernel's log: frames turned into lines, by the table in its ELF file.
//!
//! No verdict passes through here: a frame that cannot be decoded is a line
//! that says so, and nothing else.

use anyhow::{Context, Result};
use defmt_decoder::Table;
use std::collections::BTreeSet;
use std::path::Path;

/// Decodes frames.
pub(super) struct Logs {
    table: Option<Table>,
    /// What a frame can start with: the messages, not parts of messages.
    messages: BTreeSet<usize>,
}

impl Logs {
    /// The log of `kernel`. A kernel whose log cannot be read is told once.
    pub(super) fn of(kernel: &Path) -> Logs {
        let table = read_table(kernel).unwrap_or_else(|error| {
            eprintln!("the log cannot be decoded: {}", one_line(&format!("{error:#}")));
            None
        });
        let messages = table.iter().flat_map(Table::indices).collect();
        Logs { table, messages }
    }

    /// The line that `frame` stands for.
    pub(super) fn line(&self, frame: &[u8]) -> String {
        self.decode(frame).unwrap_or_else(|| undecodable(frame))
    }

    fn decode(&self, frame: &[u8]) -> Option<String> {
        let table = self.table.as_ref()?;
        let index = u16::from_le_bytes([*frame.first()?, *frame.get(1)?]);
        if !self.messages.contains(&usize::from(index)) {
            return None;
        }
        let (said, _) = table.decode(frame).ok()?;
        let level = said.level().map_or("", |level| level.as_str()).to_uppercase();
        let time = said.display_timestamp().map(|time| time.to_string()).unwrap_or_default();
        let text = format!("{time} {level:<5} {}", said.display_message());
        Some(one_line(&text))
    }
}

/// The table in an ELF file, if it has one.
fn read_table(kernel: &Path) -> Result<Option<Table>> {
    let elf = std::fs::read(kernel).with_context(|| format!("{}", kernel.display()))?;
    Table::parse(&elf)
}

/// What can be shown of a frame that nobody understands.
fn undecodable(frame: &[u8]) -> String {
    let readable: String =
        frame.iter().map(|byte| char::from(*byte)).filter(|c| matches!(c, ' '..='~')).collect();
    format!("undecodable: {} bytes, {readable:?}", frame.len())
}

/// Without ends of lines and control characters; a terminal would obey them.
fn one_line(text: &str) -> String {
    text.trim().replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_a_table_is_shown_undecoded() {
        let logs = Logs { table: None, messages: BTreeSet::new() };
        assert_eq!(logs.line(b"\x01\x00abc"), "undecodable: 5 bytes, \"abc\"");
        assert_eq!(logs.line(b""), "undecodable: 0 bytes, \"\"");
    }

    #[test]
    fn what_is_no_elf_file_has_no_table_and_does_no_harm() {
        let logs = Logs::of(Path::new(file!()));
        assert!(logs.line(&[0, 0, 1]).starts_with("undecodable"));
    }
}
