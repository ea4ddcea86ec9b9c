//! Runs one boot to its end, and judges it.
//!
//! ```text
//! QEMU ─ pipe ─ demux ┬ text:  tally, screen
//!                     └ frame: logs, screen
//!      ─ status ─────── tally.judge
//! ```
//! Nothing stands between QEMU and us: its status is the one we wait for.

use super::demux::{Demux, Event};
use super::logs::Logs;
use super::screen::{HANG, Screen, Show};
use super::verdict::Tally;
use crate::process::Job;
use anyhow::{Result, bail};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

/// Runs `qemu`, which boots `kernel`, and fails unless its verdict is good. The error's first line
/// is the reason; what else may help, and was not shown before, follows.
/// Returns the time from the start of QEMU to its end.
pub(super) fn run(qemu: &Job, kernel: &Path, show: Show) -> Result<Duration> {
    let (logs, problem) = Logs::of(kernel);
    let mut watch = Watch { logs, screen: Screen::new(show), tally: Tally::default() };
    if let Some(problem) = problem {
        watch.screen.log(problem);
    }
    let (running, mut serial) = qemu.pipe()?;
    let mut demux = Demux::default();
    let mut buffer = [0; 4096];
    loop {
        match serial.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => watch.see(demux.take(&buffer[..length])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => bail!("the serial line: {error}"),
        }
    }
    watch.see(demux.end());
    let ended = match running.wait() {
        Ok(ended) => ended,
        // It hung: the last lines tell where, seen before or not.
        Err(error) => bail!(lines([format!("{error:#}"), watch.screen.last(HANG)])),
    };
    match watch.tally.judge(ended.status) {
        Ok(()) => Ok(ended.cost.wall),
        Err(reason) => bail!(lines([reason, ended.tail(), watch.screen.unseen()])),
    }
}

/// These, each starting a line of its own.
fn lines<const N: usize>(parts: [String; N]) -> String {
    let parts = parts.iter().map(|part| part.trim_end()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// Those who look at what arrives.
struct Watch {
    logs: Logs,
    screen: Screen,
    tally: Tally,
}

impl Watch {
    fn see(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Text(line) => {
                    self.tally.take(&line);
                    self.screen.text(line);
                }
                Event::Frame(bytes) => self.screen.log(self.logs.line(&bytes)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Runs a shell script in QEMU's place.
    fn played(script: &str) -> Result<Duration> {
        let job = Job::new("/bin/sh").args(["-c", script]).timeout(Duration::from_millis(1500));
        run(&job, Path::new("/dev/null"), Show::Nothing)
    }

    fn reason(script: &str) -> String {
        played(script).expect_err("must be bad").to_string()
    }

    #[test]
    fn the_status_decides() {
        const LINES: &str = r"printf 'case a ... ok\n\377\177\0001 passed, 0 failed\n'";
        played(LINES).expect("good");
        let bad = reason(&format!("{LINES}; echo complaint >&2; exit 7"));
        assert!(bad.starts_with("QEMU ended with exit status: 7\ncomplaint"), "{bad}");
        // What was not shown before comes with the failure, logs among it.
        assert!(bad.contains("case a ... ok\n  | undecodable"), "{bad}");
        let killed = reason(&format!("{LINES}; kill -9 $$"));
        assert!(killed.contains("signal: 9"), "{killed}");
    }

    #[test]
    fn an_early_end_is_bad() {
        assert!(reason("echo 'case a ... ok'").contains("0 closing lines"));
        assert!(reason("exec >&-; exit 3").contains("exit status: 3"));
    }

    #[test]
    fn a_hang_ends_with_the_last_lines() {
        let started = Instant::now();
        let script = "seq 100; printf 'case b ... '; sleep 60 & sleep 60";
        let hang = reason(script);
        assert!(hang.contains("was killed"), "{hang}");
        assert!(hang.ends_with("\n99\n100\ncase b ...") && !hang.contains("\n50\n"), "{hang}");
        assert!(started.elapsed() < Duration::from_secs(30), "the limit did not hold");
    }

    #[test]
    fn a_kernel_that_closes_its_line_and_hangs_ends_too() {
        assert!(reason("exec >&-; exec sleep 60").contains("was killed"));
    }

    #[test]
    fn a_flood_neither_blocks_nor_fills_the_memory() {
        let hang = reason("while :; do printf '0123456789abcdef0123456789abcdef\\377'; done");
        assert!(hang.contains("was killed"), "{hang}");
    }
}
