//! The cache layer of a heap as a whole, and the caller's place in it.

use super::deferred::Deferred;
use super::depot::Depot;
use super::frontend::{Current, FrontEnd};
use super::lower::Lower;
use super::pool::Pool;
use super::registry::Registry;
use super::runs::FILLED;
use super::slot::Slot;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::region::PerNode;
use crate::region::nodes::nodes;

/// The cache layer of a heap.
pub(crate) struct Cache<C: Config> {
    pub(crate) pool: Pool<C>,
    /// The depots of nodes; one where blocks belong to no node.
    pub(super) depots: PerNode<Depot<C>, C::Env>,
    pub(crate) registry: Registry<C>,
    pub(crate) deferred: Deferred<C::Env>,
    /// Where random order comes from in checked tiers; 0 before the first.
    random: AtomicUsize,
    /// Bytes of runs that sheaves have room for.
    pub(super) run_room: AtomicUsize,
    /// How much of a cached run has memory behind it, in parts of
    /// [`FILLED`](super::runs::FILLED).
    pub(super) filled: AtomicU32,
}

/// The caller's place, after it has been given a slot if it lacked one.
pub(super) enum Place<'a, C: Config> {
    Slot(&'a Slot<C::Env>),
    Uncached,
}

impl<C: Config> Cache<C> {
    pub(crate) const fn new() -> Self {
        Self {
            pool: Pool::new(),
            depots: PerNode::new(Depot::new()),
            registry: Registry::new(),
            deferred: Deferred::new(),
            random: AtomicUsize::new(0),
            run_room: AtomicUsize::new(0),
            filled: AtomicU32::new(FILLED),
        }
    }

    /// The next of a series of numbers (Marsaglia's xorshift) that starts at a
    /// random one of the environment's. Two at once may get the same.
    pub(crate) fn random(&self) -> usize {
        let mut number = match self.random.load(Relaxed) {
            0 => C::Env::random() as usize | 1,
            number => number,
        };
        let [left, right, last] = if usize::BITS == 64 { [13, 7, 17] } else { [13, 17, 5] };
        number ^= number << left;
        number ^= number >> right;
        number ^= number << last;
        self.random.store(number, Relaxed);
        number
    }

    /// Where the caller stands; gives it a slot if it lacks one.
    #[inline]
    pub(super) fn place<'a>(&self, lower: &'a Lower<C>) -> Place<'a, C> {
        match lower.front.current() {
            Current::Slot(slot) => {
                self.keep_up(lower, slot);
                Place::Slot(slot)
            }
            _ => self.find_place(lower),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_place<'a>(&self, lower: &'a Lower<C>) -> Place<'a, C> {
        loop {
            match lower.front.current() {
                Current::Slot(slot) => return Place::Slot(slot),
                Current::Stopped => return Place::Uncached,
                Current::Absent => {
                    let Some(slot) = self.registry.obtain(&self.pool, lower) else {
                        return Place::Uncached;
                    };
                    if !lower.front.attach(slot) {
                        self.registry.put_back(slot);
                        // Attached by somebody else meanwhile, or stopped.
                    }
                }
            }
        }
    }

    /// Bytes of objects that one slot may stash in any case: to compare with, before
    /// the [`budget`](Self::budget) is worked out.
    #[inline]
    pub(super) fn least_budget(&self) -> usize {
        if self.registry.is_short() { 0 } else { C::limits().stash_min }
    }

    /// Bytes of objects that one slot may stash: a fourth of the heap for
    /// two slots, less when more share it. A fixed cap bloats small programs.
    #[inline]
    pub(super) fn budget(&self, lower: &Lower<C>) -> usize {
        if self.registry.is_short() {
            return 0;
        }
        let slots = self.registry.active().max(2) as usize;
        let limits = C::limits();
        (lower.regions.extent() / (2 * slots)).min(limits.stash_max).max(limits.stash_min)
    }

    /// Bytes of objects of one class that a depot may hold: together they hold
    /// no more than one would.
    pub(super) fn depot_limit(&self, lower: &Lower<C>) -> usize {
        if self.registry.is_short() {
            return 0;
        }
        let limits = C::limits();
        let all = (lower.regions.extent() / 64).min(limits.depot_max).max(limits.depot_min);
        if lower.is_local() { all / usize::from(nodes::<C>(&lower.provider)) } else { all }
    }
}
