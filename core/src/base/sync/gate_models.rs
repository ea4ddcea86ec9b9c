//! A gate that is closed: nobody is inside, and what they did is seen.

use std::sync::Arc;

use super::*;
use crate::base::sync::plain;
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::ModelEnv;

/// Something that is whole outside of the gate.
struct Guarded {
    gate: Gate<ModelEnv>,
    place: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fork {
    Closes,
    Forgets,
}

fn forked(fork: Fork) {
    let guarded = Arc::new(Guarded { gate: Gate::new(), place: 0 });
    let other = Arc::clone(&guarded);
    let other = spawn(move || {
        for _ in 0..2 {
            let _passing = other.gate.pass();
            plain::wrote(&raw const other.place);
        }
    });
    if fork == Fork::Closes {
        guarded.gate.close();
    }
    plain::read(&raw const guarded.place);
    // SAFETY: closed above, or nothing is promised.
    unsafe { guarded.gate.open() };
    other.join();
    assert_eq!(guarded.gate.state.load(Ordering::Relaxed), 0, "nobody is left inside");
}

#[test]
fn a_fork_finds_nobody_inside_of_a_gate() {
    Model::new(|| forked(Fork::Closes)).verify(&[
        "gate.rs: compare_exchange_in & Acquire",
        "gate.rs: self.state.load & Acquire",
        "gate.rs: store(0 & Release",
        "gate.rs: fetch_sub_in & Release",
    ]);
    Model::new(|| forked(Fork::Forgets)).fails();
}
