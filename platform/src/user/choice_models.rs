//! The choice of a front end, by two threads: made once, seen whole, and kept.

use granule_core::base::sync::modelled::plain;
use granule_core::check::model::{Model, spawn};

use super::*;

static MADE: Choice = Choice::open();
const MADE_SO: u8 = 2;
/// What the choice needs, prepared by who makes it.
static PREPARED: u64 = 0;

/// A miss: asks, and chooses if nobody has; then looks at the table.
fn miss() -> u8 {
    let seen = match MADE.get() {
        OPEN => MADE.make(
            || {
                plain::wrote(&raw const PREPARED);
                MADE_SO
            },
            |made| assert_eq!(made, MADE_SO),
        ),
        seen => seen,
    };
    if seen == MADE_SO {
        plain::read(&raw const PREPARED);
    }
    seen
}

#[test]
fn a_choice_is_made_once_seen_whole_and_kept() {
    Model::new(|| {
        let other = spawn(|| [miss(), miss()]);
        let mine = [miss(), miss()];
        for seen in [mine, other.join()] {
            assert!(seen[0] != MADE_SO || seen[1] == MADE_SO, "kept: {seen:?}");
            assert!(seen.iter().all(|seen| [PREPARING, MADE_SO].contains(seen)));
        }
        // A child of a fork has nothing left to end.
        MADE.settle(OPEN);
        assert_eq!(MADE.get(), MADE_SO);
    })
    .verify(&["choice.rs: self.0"]);
}
