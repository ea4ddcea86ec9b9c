//! Takes a serial line apart: lines of text, and frames of the logger between.
//!
//! ```text
//! serial line:  case a ... ok \n  FF (coded bytes, none of them 00) 00  case b ...
//!               └─── text ────┘   └──────────── frame ────────────┘  └─── text
//! ```
//! Text never holds FF; a frame may hold any byte but 00. So a frame that was
//! torn (its core died in the middle) swallows what follows it, up to the end
//! of the next frame. What cannot be a frame is therefore read again as text:
//! nothing that a kernel says about its cases is lost to a broken log.

use super::rzcobs;

/// Starts a frame.
const START: u8 = 0xFF;
/// Ends a frame.
const END: u8 = 0x00;
/// No frame is longer: one that grows beyond this was torn.
const LONGEST_FRAME: usize = 4096;
/// A line that grows beyond this is cut.
const LONGEST_LINE: usize = 16384;

/// What arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A line of text, without its end.
    Text(String),
    /// The bytes of a whole frame, decoded: what the logger wrote.
    Frame(Vec<u8>),
}

/// Takes bytes in pieces of any size, and gives events.
#[derive(Default)]
pub(super) struct Demux {
    line: Vec<u8>,
    frame: Option<Vec<u8>>,
}

impl Demux {
    /// Takes what arrived next, and gives what that completed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut events);
        }
        events
    }

    /// Nothing more will arrive: gives what has not been completed.
    pub(super) fn end(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(torn) = self.frame.take() {
            self.read_again(torn, &mut events);
        }
        if !self.line.is_empty() {
            self.end_line(&mut events);
        }
        events
    }

    fn byte(&mut self, byte: u8, events: &mut Vec<Event>) {
        match (&mut self.frame, byte) {
            (None, START) => self.frame = Some(Vec::new()),
            (None, b'\n') => self.end_line(events),
            (None, _) => {
                self.line.push(byte);
                if self.line.len() >= LONGEST_LINE {
                    self.end_line(events);
                }
            }
            // Loggers send one before their first frame, to end a torn one.
            (Some(frame), END) if frame.is_empty() => {}
            (Some(_), END) => self.end_frame(events),
            (Some(frame), _) => {
                frame.push(byte);
                if frame.len() > LONGEST_FRAME {
                    let torn = self.frame.take().unwrap_or_default();
                    self.read_again(torn, events);
                }
            }
        }
    }

    /// Ends the frame, or, if that was none, the one that follows inside it.
    fn end_frame(&mut self, events: &mut Vec<Event>) {
        while let Some(frame) = self.frame.take() {
            match rzcobs::decode(&frame).filter(|_| !holds_text(&frame)) {
                Some(bytes) => events.push(Event::Frame(bytes)),
                None => self.read_again(frame, events),
            }
        }
    }

    /// Reads what looked like a frame, less the byte that started it, again.
    ///
    /// A frame that starts inside it is shorter, so this comes to an end.
    fn read_again(&mut self, torn: Vec<u8>, events: &mut Vec<Event>) {
        for byte in torn {
            self.byte(byte, events);
        }
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        // A terminal obeys control characters; a kernel gone astray prints any.
        let shown = |c: char| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c };
        events.push(Event::Text(line.trim_end_matches('\r').chars().map(shown).collect()));
    }
}

/// Whether a line of text and the start of a frame stand in this one, which
/// then was torn, even if by chance it could have been coded.
fn holds_text(frame: &[u8]) -> bool {
    const WORD: usize = 4;
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | 0x80..=0xFE);
    frame
        .windows(WORD + 2)
        .any(|at| at[..WORD].iter().all(printable) && at[WORD..] == [b'\n', START])
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;
