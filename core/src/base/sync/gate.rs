//! A gate: work that others wait for before they go on, which no lock guards.

use core::marker::PhantomData;

use super::Count;
use super::Update;
use super::atomic::{AtomicUsize, Ordering};
use crate::base::env::Environment;

/// Nobody may pass.
const CLOSED: usize = 1;
/// Somebody is inside.
const ONE: usize = 2;

/// Any number of threads pass it at a time, unless it is closed. No lock may be held
/// by who passes or closes it.
pub(crate) struct Gate<E> {
    /// [`CLOSED`], and [`ONE`] for each that is inside.
    state: AtomicUsize,
    environment: PhantomData<fn() -> E>,
}

/// Proof that the gate is not closed behind its holder's back.
#[must_use = "dropping it lets the gate close"]
pub(crate) struct Passing<'a, E: Environment>(&'a Gate<E>);

impl<E: Environment> Gate<E> {
    pub(crate) const fn new() -> Self {
        Self { state: AtomicUsize::new(0), environment: PhantomData }
    }

    /// Waits as long as it is closed.
    pub(crate) fn pass(&self) -> Passing<'_, E> {
        self.until(|state| {
            // Acquire: pairs with the Release in `open`.
            state & CLOSED == 0
                && self
                    .state
                    .compare_exchange_in::<E>(state, state + ONE, Ordering::Acquire)
                    .is_ok()
        });
        Passing(self)
    }

    /// Closes it, and waits until nobody is inside.
    pub(crate) fn close(&self) {
        // Relaxed: what follows waits for those inside. A second one who closes it
        // waits for the first.
        self.until(|_| self.state.fetch_or_in::<E>(CLOSED, Ordering::Relaxed) & CLOSED == 0);
        // Acquire, in `until`: pairs with the Release of the last one to leave.
        self.until(|state| state == CLOSED);
    }

    /// Opens it.
    ///
    /// # Safety
    ///
    /// Caller: closed it or, in the child of a fork, is the copy of the thread that did.
    pub(crate) unsafe fn open(&self) {
        // Nobody is inside, and nobody changes a closed gate.
        // Release: pairs with the Acquire in `pass`.
        self.state.store(0, Ordering::Release);
    }

    fn until(&self, done: impl Fn(usize) -> bool) {
        let mut spins = 0u32;
        while !done(self.state.load(Ordering::Acquire)) {
            E::wait(spins);
            spins = spins.saturating_add(1);
        }
    }
}

impl<E: Environment> Drop for Passing<'_, E> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `close`.
        self.0.state.fetch_sub_in::<E>(ONE, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
#[path = "gate_models.rs"]
mod models;
