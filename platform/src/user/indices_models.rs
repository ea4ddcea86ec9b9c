//! A cache that goes with a number: who has the number uses it, and who finds the number
//! free, after having stopped the cache, drains it.

use granule_core::base::sync::atomic::AtomicBool;
use granule_core::base::sync::modelled::plain;
use granule_core::check::model::{Model, spawn};

use super::*;

static NUMBERS: Indices<1> = Indices::new();
static STOPPED: AtomicBool = AtomicBool::new(false);
/// The cache of number 0.
static CACHE: u64 = 0;

/// A thread's life: takes a number, uses the cache that goes with it, and ends.
fn live() {
    let number = NUMBERS.take().expect("there are enough");
    // Acquire: as a front end's place has it, which is modelled in the core.
    if number == 0 && !STOPPED.load(Ordering::Acquire) {
        plain::wrote(&raw const CACHE);
    }
    NUMBERS.give_back(number);
}

/// Whether the cache could be drained.
fn drain(is_free: impl Fn() -> bool) -> bool {
    STOPPED.store(true, Ordering::Relaxed);
    let alone = is_free();
    if alone {
        plain::wrote(&raw const CACHE);
    }
    // Release: as a place.
    STOPPED.store(false, Ordering::Release);
    alone
}

#[test]
fn a_cache_is_drained_while_nobody_has_its_number() {
    Model::new(|| {
        let other = spawn(|| (live(), live()));
        drain(|| NUMBERS.is_free(0));
        other.join();
        assert!(drain(|| NUMBERS.is_free(0)), "all have ended");
        live();
    })
    .verify(&["indices.rs: entry.compare", "indices.rs: .fetch_or", "indices.rs: .fetch_and"]);
}

#[test]
fn a_drain_that_only_looks_finds_somebody() {
    Model::new(|| {
        let other = spawn(|| (live(), live()));
        // Acquire: so that no more than the order of later ones is missing.
        drain(|| NUMBERS.0[0].load(Ordering::Acquire) & 1 == 0);
        other.join();
    })
    .fails();
}
