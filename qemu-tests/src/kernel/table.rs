//! Runs the cases of the table, and tells how they ended.

use super::case::{Case, Done, When};
use super::text::say;
use super::{cases, clock};

/// What the boot arguments ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// Cases by their names, with commas between, or all.
    pub(crate) case: Option<&'a str>,
    /// Whether instructions are counted.
    pub(crate) counting: bool,
}

impl Case {
    fn is_wanted(&self, wish: Wish<'_>) -> bool {
        match wish.case {
            Some(names) => names.split(',').any(|name| name == self.name),
            None if wish.counting => self.when != When::Asked,
            None => self.when == When::Always,
        }
    }
}

/// Runs what is wished for; one line a case, and one at the end. Whether all
/// passed.
pub(crate) fn run(wish: Wish<'_>) -> bool {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in cases::TABLE.iter().filter(|case| case.is_wanted(wish)) {
        defmt::info!("{=str} begins", case.name);
        let start = clock::millis();
        let outcome = (case.run)();
        let ms = clock::millis() - start;
        match outcome {
            Ok(Done::Ok) => {
                passed += 1;
                say!("case {} ... ok ({ms} ms)", case.name);
            }
            Ok(Done::Skipped(why)) => {
                skipped += 1;
                say!("case {} ... skipped: {why}", case.name);
            }
            Err(why) => {
                failed += 1;
                say!("case {} ... FAILED: {why}", case.name);
            }
        }
    }
    if passed + failed + skipped == 0 {
        say!("there is no such case: {}", wish.case.unwrap_or("(any)"));
        failed = 1;
    }
    say!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}
