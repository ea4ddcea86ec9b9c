//! What a person sees of a boot: text at once, logs when they are wanted.

use super::verdict::{CaseEnd, Meaning, meaning};
use crate::table::{Tone, paint};
use std::collections::VecDeque;
use std::io::{IsTerminal, stdout};

/// How many lines are kept for a failure.
const KEPT: usize = 200;
/// How many lines tell where a kernel hangs.
pub(super) const HANG: usize = 20;

/// What is shown while the kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Show {
    /// Nothing: all is kept for the case of a failure.
    Nothing,
    /// The text.
    Text,
    /// The text and the log.
    TextAndLogs,
}

/// Which of the two a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Log,
}

/// Shows lines, and keeps the last.
pub(super) struct Screen {
    show: Show,
    colour: bool,
    kept: VecDeque<(Kind, String)>,
}

impl Screen {
    /// An empty screen.
    pub(super) fn new(show: Show) -> Screen {
        Screen { show, colour: stdout().is_terminal(), kept: VecDeque::with_capacity(KEPT) }
    }

    /// A line of text.
    pub(super) fn text(&mut self, line: String) {
        self.line(Kind::Text, line);
    }

    /// A line of the log.
    pub(super) fn log(&mut self, line: String) {
        self.line(Kind::Log, line);
    }

    fn line(&mut self, kind: Kind, line: String) {
        let shown = match kind {
            Kind::Text => self.show != Show::Nothing,
            Kind::Log => self.show == Show::TextAndLogs,
        };
        if shown {
            println!("{}", painted(kind, &line, self.colour));
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((kind, line));
    }

    /// The last `count` lines of text and log, as they followed each other.
    pub(super) fn last(&self, count: usize) -> String {
        let first = self.kept.len().saturating_sub(count);
        let lines = self.kept.iter().skip(first);
        lines.map(|(kind, line)| painted(*kind, line, self.colour)).collect::<Vec<_>>().join("\n")
    }

    /// What the last lines hold that has not been shown yet.
    pub(super) fn unseen(&self) -> String {
        let seen = |kind| match self.show {
            Show::Nothing => false,
            Show::Text => kind == Kind::Text,
            Show::TextAndLogs => true,
        };
        if self.kept.iter().all(|(kind, _)| seen(*kind)) { String::new() } else { self.last(KEPT) }
    }
}

/// A line as a terminal shows it.
fn painted(kind: Kind, line: &str, colour: bool) -> String {
    if kind == Kind::Log {
        return paint(&format!("  | {line}"), Tone::Faint, colour);
    }
    let tone = match meaning(line) {
        Meaning::Case(CaseEnd::Failed) => Tone::Bad,
        Meaning::Case(CaseEnd::Skipped) => Tone::Faint,
        Meaning::Closing(count) if count.failed > 0 => Tone::Bad,
        Meaning::Closing(_) => Tone::Good,
        Meaning::Case(CaseEnd::Passed) => match line.split_once(" ... ok") {
            Some((case, rest)) => {
                return format!("{case} ... {}{rest}", paint("ok", Tone::Good, colour));
            }
            None => Tone::Plain,
        },
        Meaning::Nothing => Tone::Plain,
    };
    paint(line, tone, colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_order() {
        let mut screen = Screen::new(Show::Nothing);
        for at in 0..KEPT {
            screen.text(format!("line {at}"));
            screen.log(format!("log {at}"));
        }
        screen.colour = false;
        assert_eq!(screen.last(3), "  | log 198\nline 199\n  | log 199");
        assert_eq!(screen.last(10 * KEPT).lines().count(), KEPT);
        assert_eq!(screen.unseen().lines().count(), KEPT);
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let screen = |show, kinds: &[Kind]| Screen {
            show,
            colour: false,
            kept: kinds.iter().map(|kind| (*kind, "x".to_owned())).collect(),
        };
        assert_eq!(screen(Show::Text, &[Kind::Text]).unseen(), "");
        assert_eq!(screen(Show::Text, &[Kind::Text, Kind::Log]).unseen(), "x\n  | x");
        assert_eq!(screen(Show::TextAndLogs, &[Kind::Log]).unseen(), "");
    }

    #[test]
    fn verdicts_stand_out() {
        assert_eq!(painted(Kind::Text, "case a ... ok", true), "case a ... \x1b[32mok\x1b[0m");
        assert_eq!(painted(Kind::Text, "1 passed, 1 failed", true)[..5], *"\x1b[33m");
        assert_eq!(painted(Kind::Text, "table", true), "table");
    }
}
