//! A progress bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// Tells a person how far a long run is. Writes to standard error, so that
/// standard output stays the result.
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
}

impl Progress {
    /// Starts at 0 of `steps`.
    pub(crate) fn new(steps: usize) -> Progress {
        let plain = !stderr().is_terminal();
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let bar = if plain { ProgressBar::hidden() } else { ProgressBar::new(steps) };
        if !plain {
            let style = ProgressStyle::with_template("  {bar:30.green} {pos}/{len}  {msg}  {eta}");
            bar.set_style(style.expect("the template is constant and well formed"));
        }
        Progress { bar, plain }
    }

    /// Says what comes next.
    pub(crate) fn say(&self, what: &str) {
        if self.plain {
            eprintln!("  {what}");
        }
        self.bar.set_message(what.to_owned());
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Clear, not finish: the table that follows replaces the bar.
        self.bar.finish_and_clear();
    }
}
