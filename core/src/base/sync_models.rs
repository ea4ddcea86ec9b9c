//! Locks: what they guard has one holder, an interrupt finds none that was
//! taken below it, and `fork` finds them all closed.

use std::sync::Arc;

use super::modelled::interrupt_after;
use super::*;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::ModelEnv;

#[test]
fn what_a_lock_guards_has_one_holder() {
    Model::new(|| {
        let lock = Arc::new(Lock::<u32, ModelEnv>::new(0));
        let other = Arc::clone(&lock);
        let other = spawn(move || {
            *other.lock() += 1;
            other.try_lock().map_or(0, |mut held| {
                *held += 1;
                1
            })
        });
        *lock.lock() += 1;
        let tried = other.join();
        assert_eq!(*lock.lock(), 2 + tried);
    })
    .verify(&[LOCK]);
}

/// An environment that keeps nothing out.
struct Open;

// SAFETY: breaks its promise, for a model that must fail.
unsafe impl Environment for Open {
    type Exclusion = ();

    fn exclude() {}

    fn wait(spins: u32) {
        ModelEnv::wait(spins);
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: crate::base::fault::Fault) -> ! {
        ModelEnv::fatal(fault)
    }
}

/// An interrupt after so many accesses takes the lock, which it must get once
/// the other thread has had its turn.
fn interrupted<E: Environment>(accesses: usize) {
    const TRIES: usize = 8;
    let lock = Arc::new(Lock::<u32, E>::new(0));
    let (other, nested) = (Arc::clone(&lock), Arc::clone(&lock));
    let other = spawn(move || *other.lock() += 1);
    interrupt_after(accesses, move || {
        let held = (0..TRIES).find_map(|tries| {
            E::wait(tries as u32);
            nested.try_lock()
        });
        *held.expect("a lock that is not held below the interrupt") += 1;
    });
    *lock.lock() += 1;
    drop(lock.try_lock());
    other.join();
    assert!((2..=3).contains(&*lock.lock()));
}

#[test]
fn an_interrupt_finds_no_lock_taken_below_it() {
    for accesses in 1..=5 {
        Model::new(move || interrupted::<ModelEnv>(accesses)).preemptions(2).verify(&[LOCK]);
    }
}

#[test]
fn without_exclusion_an_interrupt_finds_one() {
    Model::new(|| interrupted::<Open>(1)).preemptions(2).fails();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fork {
    AllHeld,
    OneForgotten,
}

/// Two records that belong together, each under a lock, and a fork.
fn forked(fork: Fork) {
    let records = Arc::new([const { Lock::<u32, ModelEnv>::new(0) }; 2]);
    let other = Arc::clone(&records);
    let other = spawn(move || {
        for record in &*other {
            *record.lock() += 1;
        }
    });
    let closed = if fork == Fork::AllHeld { &records[..] } else { &records[..1] };
    Lock::hold_all(closed);
    for record in &*records {
        // The child, which has copies: nobody is in the middle of a change.
        assert!(record.is_closed(), "a lock that a thread may be inside of");
        plain::read(record.value.get());
    }
    // SAFETY: closed above, by this thread.
    unsafe { Lock::unhold_all(closed) };
    other.join();
    assert_eq!([*records[0].lock(), *records[1].lock()], [1, 1]);
}

#[test]
fn a_fork_finds_every_record_whole() {
    Model::new(|| forked(Fork::AllHeld)).verify(&[LOCK]);
    Model::new(|| forked(Fork::OneForgotten)).fails();
}
