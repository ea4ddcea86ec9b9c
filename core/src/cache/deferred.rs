//! Blocks freed where nothing may wait, until somebody who may comes by.
//!
//! A stack linked through the blocks' own first words (Treiber 1986), taken
//! whole, so that no pop can mistake a reused block for the one it saw. The
//! one place where the heap writes into a free block: there is no memory to
//! be had for a link where this is needed, and finding the block's records
//! might mean to wait for the writer that was interrupted.
//!
//! N1: a block in the stack is the stack's alone, until `take` has returned.

use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};

use crate::base::env::Environment;
use crate::base::sync::atomic::{AtomicPtr, Ordering};
use crate::base::sync::{Update, plain};

/// The link in a deferred block.
type Link = *mut u8;

const _: () = assert!(size_of::<Link>() <= 8, "a link fits the smallest block");

/// Blocks freed and not yet given back.
pub(crate) struct Deferred<E> {
    head: AtomicPtr<u8>,
    environment: PhantomData<fn() -> E>,
}

/// Blocks taken out, newest first.
#[derive(Debug)]
#[must_use = "dropping the blocks leaks them"]
pub(crate) struct Taken(*mut u8);

impl<E: Environment> Deferred<E> {
    pub(crate) const fn new() -> Self {
        Self { head: AtomicPtr::new(null_mut()), environment: PhantomData }
    }

    /// Whether there is nothing, as far as a glance tells.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Adds a block, in any context.
    ///
    /// # Safety
    ///
    /// Caller: gives the block up; it is aligned to 8 bytes.
    pub(crate) unsafe fn push(&self, block: NonNull<u8>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: N1, the block is ours until it is in, and holds a link.
            unsafe { block.cast::<Link>().write(head) };
            plain::wrote(block.as_ptr().cast::<Link>());
            // Release: publishes the link and the last user's accesses; pairs
            // with the Acquire in `take`.
            match self.head.compare_exchange_nested::<E>(head, block.as_ptr(), Ordering::Release) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all blocks out.
    pub(crate) fn take(&self) -> Taken {
        // Acquire: pairs with the Release in `push`, of the newest block and,
        // through the chain of exchanges, of all below it.
        Taken(self.head.swap_nested::<E>(null_mut(), Ordering::Acquire))
    }
}

impl Iterator for Taken {
    type Item = NonNull<u8>;

    fn next(&mut self) -> Option<NonNull<u8>> {
        let block = NonNull::new(self.0)?;
        plain::read(self.0);
        // SAFETY: N1, taken out; `push` wrote the link.
        self.0 = unsafe { block.cast::<Link>().read() };
        Some(block)
    }
}

#[cfg(test)]
#[path = "deferred_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "deferred_models.rs"]
mod models;
