//! Emptying slots and depots.
//!
//! A slot that is drained gives its objects to the slabs. Own slots can be
//! drained at once; others where the front end can stop them; the rest are
//! asked to drain themselves at their next miss (an *epoch* is raised).

use super::depot::Depot;
use super::frontend::{Current, FrontEnd};
use super::lower::Lower;
use super::paths::{flush, flush_top};
use super::slot::Slot;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::limits::Limits;
use crate::base::sync::Count;
use crate::base::sync::atomic::Ordering;

impl<C: Config> Cache<C> {
    /// Takes part in a drain that was asked for, if it has not yet.
    #[inline(always)]
    pub(super) fn keep_up(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        let epoch = self.registry.epoch.load(Ordering::Relaxed);
        if slot.epoch.load(Ordering::Relaxed) != epoch {
            // Once for each drain, whether it can be stopped or not.
            slot.epoch.store(epoch, Ordering::Relaxed);
            self.stop_and_drain(lower, slot);
        }
        if C::NODES > 1 {
            self.settle(lower, slot);
        }
        self.flush_old(lower, slot);
    }

    /// Whether the slot could be stopped, and is empty now.
    #[cold]
    pub(crate) fn stop_and_drain(&self, lower: &Lower<C>, slot: &Slot<C::Env>) -> bool {
        let stopped = lower.front.stop(slot);
        if stopped {
            // SAFETY: the front end has stopped it.
            unsafe { self.drain_slot(lower, slot) };
            lower.front.restart(slot);
        }
        stopped
    }

    /// Gives all that is cached back to the slabs, as far as it can be
    /// reached, and asks the rest to follow.
    pub(crate) fn drain_all(&self, lower: &Lower<C>) {
        let epoch =
            self.registry.epoch.fetch_add_in::<C::Env>(1, Ordering::Relaxed).wrapping_add(1);
        for slot in self.registry.slots() {
            // A slot that cannot be stopped stays behind: it has to follow.
            if self.stop_and_drain(lower, slot) {
                slot.epoch.store(epoch, Ordering::Relaxed);
            }
        }
        for class in Class::all() {
            for (_, depot) in self.depots.all() {
                while let Some(sheaf) = depot.take(class) {
                    self.pool.give(flush(lower, class, sheaf));
                }
            }
        }
    }

    /// Drains the slots that have missed nothing for a while: CPUs that nobody
    /// runs on any more, numbers that no thread has. Hits are not counted, so
    /// a CPU that only hits is drained now and then as well.
    pub(crate) fn drain_idle(&self, lower: &Lower<C>, now: u32) {
        let delay = C::limits().drain_idle_ms;
        if delay == Limits::NEVER {
            return;
        }
        for slot in self.registry.slots() {
            let misses = slot.refills.get().wrapping_add(slot.overflows.get());
            if slot.idle.is_due::<C::Env>(misses, now, delay) && self.stop_and_drain(lower, slot) {
                slot.idle.note_drained();
            }
        }
    }

    /// Gives the sheaves that depots have not needed lately to the slabs.
    pub(crate) fn trim_depots(&self, lower: &Lower<C>) {
        for (_, depot) in self.depots.all() {
            for class in Class::all() {
                for _ in 0..depot.trim(class) {
                    let Some(sheaf) = depot.take(class) else { break };
                    self.pool.give(flush(lower, class, sheaf));
                }
            }
        }
    }

    /// Empties a slot.
    ///
    /// # Safety
    ///
    /// Caller: nobody else uses the slot's tops: it is the caller's own and
    /// stays so, or stopped.
    pub(crate) unsafe fn drain_slot(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        for class in Class::all() {
            // SAFETY: by the contract.
            let top = unsafe { slot.tops().take(class) };
            if !top.is_sentinel() {
                // SAFETY: taken out of its place.
                self.pool.give(unsafe { flush_top(lower, class, top) });
            }
            // The lock is dropped before the slabs are called.
            while let Some(sheaf) = { slot.stash.lock().pop_full(class) } {
                self.pool.give(flush(lower, class, sheaf));
            }
        }
        // SAFETY: by the contract.
        unsafe { self.drain_runs(lower, slot) };
        while let Some(sheaf) = { slot.stash.lock().take_any_empty() } {
            self.pool.give(sheaf);
        }
        slot.stash.lock().reset_orders();
    }

    /// Takes a slot from a thread that ends, or from a CPU that is gone.
    ///
    /// # Safety
    ///
    /// Caller: the front end no longer leads anybody to the slot.
    pub(crate) unsafe fn detach(&self, lower: &Lower<C>, slot: &'static Slot<C::Env>) {
        // SAFETY: by the contract.
        unsafe { self.drain_slot(lower, slot) };
        self.registry.put_back(slot);
    }

    /// In the child of a fork: takes the slots of all threads but the
    /// caller's, which are gone.
    ///
    /// # Safety
    ///
    /// Caller: is the only thread.
    pub(crate) unsafe fn detach_others(&self, lower: &Lower<C>) {
        let own = match lower.front.current() {
            Current::Slot(slot) => core::ptr::from_ref(slot),
            _ => core::ptr::null(),
        };
        for slot in self.registry.slots() {
            if !core::ptr::eq(slot, own) && slot.in_use.load(Ordering::Relaxed) {
                // SAFETY: by the contract its thread is gone.
                unsafe { self.detach(lower, slot) };
            }
        }
    }

    /// In the child of a fork: leads CPUs to their slots again, whose drains have
    /// nobody to end them.
    ///
    /// # Safety
    ///
    /// Caller: is the only thread, and drains nothing.
    pub(crate) unsafe fn restart_all(&self, lower: &Lower<C>) {
        for slot in self.registry.slots() {
            lower.front.restart(slot);
        }
    }

    /// Bytes of live objects' size class that are cached: in slots, depot.
    pub(crate) fn cached_bytes(&self) -> usize {
        let of = |depot: &Depot<C>| Class::all().map(|class| depot.bytes(class)).sum::<usize>();
        let in_depot: usize = self.depots.all().map(|(_, depot)| of(depot)).sum();
        let in_slots: usize = self.registry.slots().map(|slot| slot.cached_bytes()).sum();
        in_depot + in_slots
    }

    /// Slots in use, and bytes of memory for sheaves and slots.
    pub(crate) fn own_use(&self) -> (usize, usize) {
        (self.registry.active() as usize, self.pool.bytes())
    }

    /// Closes every lock for `fork`, in order.
    pub(crate) fn hold(&self) {
        self.depots.hold(Depot::hold);
        self.pool.hold();
        self.registry.unused.hold();
        self.registry.slots().for_each(|slot| slot.stash.hold());
    }

    /// Opens them again.
    ///
    /// # Safety
    ///
    /// Caller: closed them by [`hold`](Self::hold), and no slot was made
    /// since: nobody else ran.
    pub(crate) unsafe fn unhold(&self) {
        // SAFETY: by the contract.
        unsafe {
            self.registry.slots().for_each(|slot| slot.stash.unhold());
            self.registry.unused.unhold();
            self.pool.unhold();
            self.depots.unhold(|depot| depot.unhold());
        }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
