//! The choice of a front end, by two threads: made once, seen whole, and kept.

use granule_core::base::sync::modelled::plain;
use granule_core::check::model::{Model, spawn};

use super::*;

static MADE: Choice = Choice::open();
/// What the choice needs, prepared by who makes it.
static PREPARED: u64 = 0;

/// A miss: asks, and chooses if nobody has; then looks at the table.
fn miss() -> u8 {
    let seen = match MADE.get() {
        OPEN => MADE.make(
            || {
                plain::wrote(&raw const PREPARED);
                DENSE
            },
            |made| assert_eq!(made, DENSE),
        ),
        seen => seen,
    };
    if front_end(seen).is_some() {
        assert_eq!(seen, DENSE);
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
            assert!(seen[0] != DENSE || seen[1] == DENSE, "kept: {seen:?}");
            assert!(seen.iter().all(|seen| [PREPARING, DENSE].contains(seen)));
        }
        // A child of a fork has nothing left to end.
        MADE.settle(OPEN);
        assert_eq!(MADE.get(), DENSE);
    })
    .verify(&["choice.rs: self.0"]);
}
