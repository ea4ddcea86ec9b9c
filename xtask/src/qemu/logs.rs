//! The kernel's log: frames turned into lines, by the table in its ELF file.
//!
//! No verdict passes through here: a frame that cannot be decoded is a line
//! that says so, and nothing else.

use super::log_table;
use anyhow::{Context, Result};
use defmt_decoder::Table;
use std::collections::BTreeSet;
use std::path::Path;

/// Decodes frames.
#[derive(Default)]
pub(super) struct Logs {
    table: Option<Table>,
    /// What a frame can start with: the messages, not parts of messages.
    messages: BTreeSet<usize>,
}

impl Logs {
    /// The log of `kernel`, and a line to show when it cannot be read.
    pub(super) fn of(kernel: &Path) -> (Logs, Option<String>) {
        match read_table(kernel) {
            Ok(table) => {
                let messages = table.iter().flat_map(Table::indices).collect();
                (Logs { table, messages }, None)
            }
            Err(error) => {
                let why = one_line(&format!("the log cannot be decoded: {error:#}"));
                (Logs::default(), Some(why))
            }
        }
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
    log_table::parse(elf)
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

    const HELLO: &str = r#"{"package":"p","tag":"defmt_warn","data":"{=u8} cores\n","disambiguator":"1","crate_name":"c"}"#;

    /// The log of a kernel with one message, numbered 7.
    fn hello(version: &str) -> (Logs, Option<String>) {
        let symbols = [(HELLO, 0x8000_0007), (version, 1), ("_defmt_encoding_ = rzcobs", 2)];
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), log_table::file_with(&symbols)).expect("is written");
        Logs::of(file.path())
    }

    #[test]
    fn a_message_becomes_one_line() {
        let (logs, problem) = hello("_defmt_version_ = 4");
        assert_eq!(problem, None);
        assert_eq!(logs.line(&[7, 0, 4]), "WARN  4 cores");
        // The coding may append zeros.
        assert_eq!(logs.line(&[7, 0, 4, 0, 0]), "WARN  4 cores");
        // No such message, no argument, no number.
        for frame in [&[8, 0, 4][..], &[7, 0], &[7], &[]] {
            assert!(logs.line(frame).starts_with("undecodable: "), "{frame:?}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_read_is_one_line_and_no_failure() {
        let (logs, problem) = hello("_defmt_version_ = 77");
        let problem = problem.expect("an unknown version");
        assert!(problem.contains("77") && problem.lines().count() == 1, "{problem}");
        assert_eq!(logs.line(b"\x07\x00abc"), "undecodable: 5 bytes, \"abc\"");
        assert!(Logs::of(Path::new(file!())).1.is_some());
    }
}
