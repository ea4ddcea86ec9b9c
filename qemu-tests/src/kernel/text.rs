//! Lines of text without an allocator.

use core::fmt::{self, Write};

/// A text of at most `ROOM` bytes; the rest is cut off.
#[derive(Clone, Copy)]
pub(crate) struct Chars<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
}

/// A reason, or what stands in a column: small enough to be returned.
pub(crate) type Text = Chars<112>;

/// A line.
type Line = Chars<192>;

impl<const ROOM: usize> Chars<ROOM> {
    /// What `format` says, as far as there is room.
    pub(crate) fn of(format: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; ROOM], len: 0 };
        // Cutting off is not an error.
        let _ = text.write_fmt(format);
        text
    }

    /// Adds a character, if there is room.
    pub(crate) fn push(&mut self, character: char) {
        let _ = self.write_char(character);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const ROOM: usize> Write for Chars<ROOM> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = (self.len + more.len()).min(ROOM);
        let taken = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&more.as_bytes()[..taken]);
        self.len = end;
        if taken == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl<const ROOM: usize> fmt::Display for Chars<ROOM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only `write_str` fills it; a cut may have split a character.
        let text = match core::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            Err(error) => {
                core::str::from_utf8(&self.bytes[..error.valid_up_to()]).unwrap_or_default()
            }
        };
        f.pad(text)
    }
}

/// Writes a line of text, whole.
macro_rules! say {
    ($($format:tt)*) => {
        $crate::kernel::text::write_line(format_args!($($format)*))
    };
}
pub(crate) use say;

/// See [`say`].
pub(crate) fn write_line(format: fmt::Arguments<'_>) {
    let mut line = Line::of(format);
    line.len = line.len.min(line.bytes.len() - 1);
    line.push('\n');
    machine::uart::write(line.as_bytes());
}
