//! Whether a boot was good: by the status of QEMU, which the kernel sets, and
//! by the lines of text that must agree with it.
//!
//! ```text
//! case NAME ... ok | FAILED: reason | skipped: reason
//! N passed, N failed[, N skipped]
//! ```

use std::process::ExitStatus;

/// How a case came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CaseEnd {
    Passed,
    Failed,
    Skipped,
}

/// What a line of text means for the verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// A case has come to its end.
    Case(CaseEnd),
    /// The kernel's own count: the closing line.
    Closing(Count),
    /// Nothing: a table, a figure, a remark.
    Nothing,
}

/// How many cases came out how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Count {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

/// What `line` means.
pub(super) fn meaning(line: &str) -> Meaning {
    let line = line.trim_end();
    if let Some((_, end)) = line.strip_prefix("case ").and_then(|rest| rest.split_once(" ... ")) {
        let first = end.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        return match first {
            "ok" => Meaning::Case(CaseEnd::Passed),
            "FAILED" => Meaning::Case(CaseEnd::Failed),
            "skipped" => Meaning::Case(CaseEnd::Skipped),
            _ => Meaning::Nothing,
        };
    }
    closing(line).map_or(Meaning::Nothing, Meaning::Closing)
}

/// The counts of a closing line, which has nothing else on it.
fn closing(line: &str) -> Option<Count> {
    let mut parts = line.split(", ");
    let mut number = |of: &str| parts.next()?.strip_suffix(of)?.parse::<usize>().ok();
    let (passed, failed) = (number(" passed")?, number(" failed")?);
    let skipped = match parts.next() {
        None => 0,
        Some(part) => part.strip_suffix(" skipped")?.parse().ok()?,
    };
    parts.next().is_none().then_some(Count { passed, failed, skipped })
}

/// All that the lines of a boot have said.
#[derive(Default)]
pub(super) struct Tally {
    seen: Count,
    closing: Vec<Count>,
    first_failure: Option<String>,
}

impl Tally {
    /// Takes note of a line.
    pub(super) fn take(&mut self, line: &str) {
        match meaning(line) {
            Meaning::Case(CaseEnd::Passed) => self.seen.passed += 1,
            Meaning::Case(CaseEnd::Skipped) => self.seen.skipped += 1,
            Meaning::Case(CaseEnd::Failed) => {
                self.seen.failed += 1;
                self.first_failure.get_or_insert_with(|| line.trim_end().to_owned());
            }
            Meaning::Closing(count) => self.closing.push(count),
            Meaning::Nothing => {}
        }
    }

    /// Good, or bad with the reason.
    ///
    /// The status decides. The lines can only make a good status bad: a boot
    /// that ended early, or that counts wrongly, is no proof of anything.
    pub(super) fn judge(&self, status: ExitStatus) -> Result<(), String> {
        let failure = |why: &str| match &self.first_failure {
            Some(line) => format!("{line} ({why})"),
            None => why.to_owned(),
        };
        if !status.success() {
            return Err(failure(&format!("QEMU ended with {status}")));
        }
        let [count] = self.closing[..] else {
            let lines = self.closing.len();
            return Err(failure(&format!("{lines} closing lines instead of one")));
        };
        if count != self.seen {
            let Count { passed, failed, skipped } = self.seen;
            return Err(failure(&format!(
                "the closing line says something else than the cases: \
                 {passed} passed, {failed} failed, {skipped} skipped"
            )));
        }
        match count {
            Count { failed: 1.., .. } => Err(failure("yet QEMU ended with status 0")),
            Count { passed: 0, skipped: 0, .. } => Err("no case ran".to_owned()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const GOOD: &[&str] = &["boot", "case a ... ok", "case b ... skipped: no MMU", "0x10 free"];

    fn judge(lines: &[&str], last: &[&str], code: i32) -> Result<(), String> {
        let mut tally = Tally::default();
        lines.iter().chain(last).for_each(|line| tally.take(line));
        tally.judge(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn lines_mean_what_the_kernel_says() {
        assert_eq!(meaning("case a ... ok\r"), Meaning::Case(CaseEnd::Passed));
        assert_eq!(meaning("case a b ... ok (1.2 s)"), Meaning::Case(CaseEnd::Passed));
        assert_eq!(meaning("case a ... FAILED: 1 ... ok"), Meaning::Case(CaseEnd::Failed));
        assert_eq!(meaning("case a ... okay"), Meaning::Nothing);
        let count = Count { passed: 3, failed: 0, skipped: 2 };
        assert_eq!(meaning("3 passed, 0 failed, 2 skipped"), Meaning::Closing(count));
        for line in ["3 passed", "3 passed, 0 failed, 1 late", "so 3 passed, 0 failed", "", "1"] {
            assert_eq!(meaning(line), Meaning::Nothing, "{line}");
        }
    }

    #[test]
    fn good_takes_a_status_and_a_closing_line_that_agree() {
        assert_eq!(judge(GOOD, &["1 passed, 0 failed, 1 skipped"], 0), Ok(()));
    }

    #[test]
    fn anything_else_is_bad() {
        let closing = "1 passed, 0 failed, 1 skipped";
        let bad = |last: &[&str], code, why: &str| {
            let reason = judge(GOOD, last, code).expect_err("must be bad");
            assert!(reason.contains(why), "{reason}");
        };
        bad(&[closing], 7, "exit status: 7");
        bad(&[], 0, "0 closing lines");
        bad(&[closing, closing], 0, "2 closing lines");
        bad(&["2 passed, 0 failed"], 0, "something else");
        bad(&["case c ... FAILED: late", closing], 0, "case c ... FAILED: late");
        bad(&["case c ... FAILED: late", "1 passed, 1 failed, 1 skipped"], 0, "status 0");
        assert!(judge(&[], &["0 passed, 0 failed"], 0).is_err());
        let killed = Tally::default().judge(ExitStatus::from_raw(9));
        assert!(killed.is_err_and(|why| why.contains("signal: 9")));
    }
}
