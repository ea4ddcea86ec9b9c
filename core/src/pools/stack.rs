//! A lock-free stack of numbers, each with a link of its own (Treiber 1986).
//!
//! Head and tag change together, so that a pop does not mistake a number that
//! was popped and pushed again for the one it saw (the free list of IBM's
//! System/370 Principles of Operation). The tag has 32 bits: a thread that
//! slept through four billion pops, and woke to the same head under the same
//! tag, would be mistaken.

use core::sync::atomic::Ordering;

use crate::base::sync::atomic::{AtomicU32, AtomicU64};

/// The link, or head, where there is nothing.
const NONE: u32 = u32::MAX;

/// The stack: tag above, head below.
///
/// T1: a number is in the stack, or its pusher's or popper's alone, and its
/// link is written by who has it.
pub(super) struct Stack {
    head: AtomicU64,
}

#[inline]
fn word(tag: u32, number: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(number)
}

#[inline]
fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl Stack {
    /// Empty.
    pub(super) const fn new() -> Self {
        Self { head: AtomicU64::new(NONE as u64) }
    }

    /// Pushes a number that is ours, below `u32::MAX`, with its link.
    #[inline]
    pub(super) fn push(&self, number: u32, link: &AtomicU32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let (tag, top) = parts(head);
            // Relaxed: published by the exchange.
            link.store(top, Ordering::Relaxed);
            // Release: publishes the link and what was done to the number's
            // block; pairs with the Acquires in `pop`.
            match self.head.compare_exchange_weak(
                head,
                word(tag, number),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Pops the number that was pushed last; `None` when there is none.
    #[inline]
    pub(super) fn pop<'l>(&self, link: impl Fn(u32) -> &'l AtomicU32) -> Option<u32> {
        // Acquire: pairs with the Release in `push`, here and below; through
        // the chain of exchanges that of all numbers below the first, too.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let (tag, top) = parts(head);
            if top == NONE {
                return None;
            }
            // Relaxed: wrong where another thread has popped the number since,
            // but then the tag is, too.
            let next = link(top).load(Ordering::Relaxed);
            // Relaxed: the same word as was seen above, as no word comes back
            // under the same tag.
            match self.head.compare_exchange_weak(
                head,
                word(tag.wrapping_add(1), next),
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(top),
                Err(now) => head = now,
            }
        }
    }
}

#[cfg(all(test, loom))]
#[path = "stack_models.rs"]
mod models;
