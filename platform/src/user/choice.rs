//! A choice that is made once, by whoever comes first, and stays.

use granule_core::base::sync::atomic::{AtomicU8, Ordering};

/// Nobody has begun to choose.
pub(crate) const OPEN: u8 = 0;
/// Somebody is choosing.
pub(crate) const PREPARING: u8 = 1;

/// A choice: [`OPEN`], [`PREPARING`], or another number, which is what was
/// chosen.
pub(crate) struct Choice(AtomicU8);

impl Choice {
    /// Not made yet.
    pub(crate) const fn open() -> Self {
        Self(AtomicU8::new(OPEN))
    }

    /// What it is now.
    pub(crate) fn get(&self) -> u8 {
        // Acquire: pairs with the Release in `make`.
        self.0.load(Ordering::Acquire)
    }

    /// Makes the choice that `prepare` comes to, unless somebody else has
    /// begun to, and announces it. What it is now.
    pub(crate) fn make(&self, prepare: impl FnOnce() -> u8, announce: impl FnOnce(u8)) -> u8 {
        // Relaxed: what is handed over is so by the store below.
        let ours =
            self.0.compare_exchange(OPEN, PREPARING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours {
            let choice = prepare();
            // Release: what was prepared is seen by who sees the choice; pairs
            // with the Acquire in `get`.
            self.0.store(choice, Ordering::Release);
            announce(choice);
        }
        self.get()
    }

    /// Ends a choice that nobody makes any more: in the child of a fork.
    #[cfg(any(unix, all(test, loom)))]
    pub(crate) fn settle(&self, settled: u8) {
        // Relaxed: there is no other thread.
        let _ = self.0.compare_exchange(PREPARING, settled, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
#[path = "choice_models.rs"]
mod models;
