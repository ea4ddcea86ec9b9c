//! The slow paths where nothing may wait: on top of any other context, also
//! one that holds a lock, also in a non-maskable interrupt.
//!
//! ```text
//! alloc  pop ┬ hit: done
//!            └ miss: stash, else depot, if open ─ swap in, pop
//!                    ─ one object of a present slab, if open ─ none
//! free   push ┬ hit: done
//!             └ miss: stashed empty sheaf, if open ─ swap in ─ else deferred
//! ```
//!
//! After Linux's `kmalloc_nolock`; but never an object of the next class, which
//! a free that is told the layout could not know. Locks: each is tried once, the
//! depot's and the pool's under the stash's, and dropped before the call returns, so a
//! context that is interrupted finds none taken that it did not take.

use core::ptr::NonNull;

use super::exchange;
use super::frontend::{Current, FrontEnd};
use super::lower::Lower;
use super::sheaf::Word;
use super::slot::Slot;
use super::stash::Stash;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;

impl<C: Config> Cache<C> {
    /// An object of `class` (a true one) after a miss, if one can be had
    /// without waiting and without the regions.
    pub(crate) fn refill_nolock(&self, lower: &Lower<C>, class: Class) -> Option<NonNull<u8>> {
        if let Current::Slot(slot) = lower.front.current()
            && let Some(object) = self.refill_from_sheaf(lower, slot, class)
        {
            return Some(object);
        }
        let one = [Word::new(core::ptr::null_mut())];
        match lower.slabs.claim_nolock(lower.node(), class, &one) {
            0 => None,
            _ => NonNull::new(one[0].load(Relaxed)),
        }
    }

    /// Exchanges an empty sheaf, or none, for a full one.
    fn refill_from_sheaf(
        &self,
        lower: &Lower<C>,
        slot: &Slot<C::Env>,
        class: Class,
    ) -> Option<NonNull<u8>> {
        let top = slot.tops().get(class);
        if !top.is_empty() {
            return NonNull::new(lower.front.pop(class));
        }
        slot.refills.count();
        // Held to the end: there is nowhere else for what is left over.
        let mut stash = slot.stash.try_lock()?;
        // Each full sheaf from the depot leaves an empty one here.
        if stash.has_surplus() && !self.shed_empties(&mut stash) {
            return None;
        }
        let sheaf = stash.take_full(class).or_else(|| self.take_nolock(lower, class))?;
        exchange::refill(&lower.front, &self.deferred, &mut stash, class, top, sheaf)
    }

    /// Gives empty sheaves back, if the pool is open. Whether there is room for one more
    /// in the stash.
    #[cold]
    #[inline(never)]
    fn shed_empties(&self, stash: &mut Stash) -> bool {
        self.pool.give_nolock(|| stash.surplus().map(|surplus| surplus.sheaf));
        !stash.is_hoard()
    }

    /// Takes a live object of `class` (a true one) back after a miss, without
    /// waiting; `false` when it has to be deferred.
    pub(crate) fn overflow_nolock(
        &self,
        lower: &Lower<C>,
        class: Class,
        object: NonNull<u8>,
    ) -> bool {
        let Current::Slot(slot) = lower.front.current() else { return false };
        let top = slot.tops().get(class);
        if !top.is_full() {
            // SAFETY: the caller gave the object up.
            return unsafe { lower.front.push(class, object.as_ptr()) };
        }
        slot.overflows.count();
        let Some(mut stash) = slot.stash.try_lock() else { return false };
        let order = stash.order(class);
        let Some(sheaf) = stash.take_empty(class, order) else { return false };
        exchange::overflow(&lower.front, &self.deferred, &mut stash, class, top, sheaf, object)
    }
}

#[cfg(test)]
#[path = "nolock_tests.rs"]
mod tests;
