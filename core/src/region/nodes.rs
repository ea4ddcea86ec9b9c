//! Memory by nodes: which regions serve whom, and what layers above keep for
//! each node.
//!
//! NU1: a region belongs to the node that it was reserved for; one of the
//! user's to the node that the provider names.
//! NU2: what is kept for a node is made once and stays, until all of the heap's
//! memory goes (E1).
//!
//! (After Linux's `mm/slub.c`, `struct kmem_cache_node`, and the node's free
//! lists of its page allocator.)
//!
//! Locks: `making`, a leaf: memory is taken from the regions before.

use core::ptr::{NonNull, null_mut};

use super::located::Located;
use super::region::Region;
use super::runs::Search;
use super::set::{Contents, Regions, Run};
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::OutOfMemory;
use crate::base::sync::atomic::{AtomicPtr, Ordering};
use crate::base::sync::{Count, Lock, plain};
use crate::base::units::PageCount;
use crate::provider::{Node, PageProvider};

/// Where memory is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Near {
    /// This node, or none.
    Only(Node),
    /// This node; others when it is short.
    First(Node),
}

impl Near {
    pub(crate) fn node(self) -> Node {
        match self {
            Self::Only(node) | Self::First(node) => node,
        }
    }
}

/// Nodes that a heap tells apart, at least 1.
#[inline]
pub(crate) fn nodes<C: Config>(provider: &C::Pages) -> u16 {
    if C::NODES <= 1 { 1 } else { provider.nodes().clamp(1, C::NODES) }
}

/// A node as far as the heap knows it: one that does not exist counts as 0.
#[inline]
pub(crate) fn known<C: Config>(provider: &C::Pages, node: Node) -> Node {
    if node.0 < nodes::<C>(provider) { node } else { Node(0) }
}

impl<C: Config> Regions<C> {
    /// Whether a region may serve a request for memory of `only`.
    #[inline(always)]
    pub(super) fn serves(region: &Region, only: Option<Node>) -> bool {
        C::NODES <= 1 || only.is_none_or(|node| node == region.node)
    }

    /// The node of the memory under a pointer; 0 when it is none of ours.
    pub(crate) fn node_of(&self, pointer: *const u8) -> Node {
        self.locate(pointer).map_or(Node(0), |at| at.node())
    }

    /// The next node in turn, where all are to have their share.
    pub(crate) fn next_node(&self, nodes: u16) -> Node {
        // Relaxed: any order is a turn.
        Node((self.turn.fetch_add_in::<C::Env>(1, Ordering::Relaxed) % u32::from(nodes)) as u16)
    }

    /// Takes a run of any node but `short`, which has none: what is there before
    /// anything is reserved.
    #[cold]
    pub(super) fn take_far(
        &self,
        provider: &C::Pages,
        short: Node,
        pages: PageCount,
        align: u32,
    ) -> Result<(Located<'_>, Run), OutOfMemory> {
        let found = self.take_present(provider, None, pages, align, 0, Search::Thorough);
        if let Ok(found) = found {
            return Ok(found);
        }
        let others = (0..nodes::<C>(provider)).map(Node).filter(|&node| node != short);
        for node in others {
            if let Ok(found) = self.take_near(provider, node, pages, align) {
                return Ok(found);
            }
        }
        Err(OutOfMemory)
    }

    /// Memory for what is kept for a node, on that node if it has some.
    fn keep(&self, provider: &C::Pages, node: Node, bytes: usize) -> Option<NonNull<u8>> {
        let pages = PageCount::covering(bytes)?;
        let run = self.take(provider, Near::First(node), pages, 1, Class::LARGE).ok()?;
        self.kept.fetch_add_in::<C::Env>(pages.bytes(), Ordering::Relaxed);
        Some(run.start)
    }

    fn give_kept(&self, memory: NonNull<u8>, bytes: usize) {
        let pages = PageCount::covering(bytes).map_or(0, |pages| pages.bytes());
        self.kept.fetch_sub_in::<C::Env>(pages, Ordering::Relaxed);
        let given = self.give(memory, Contents::Dirty, C::Env::now_ms());
        debug_assert!(given.is_ok(), "a taken run is a used run");
    }
}

/// One `T` for each node that needed one: that of node 0 in place, so a heap of
/// one node pays a null pointer and an open lock.
pub(crate) struct PerNode<T, E: Environment> {
    first: T,
    making: Lock<(), E>,
    further: AtomicPtr<Further<T>>,
}

/// What a node other than 0 has.
struct Further<T> {
    node: Node,
    next: *mut Further<T>,
    value: T,
}

impl<T, E: Environment> PerNode<T, E> {
    pub(crate) const fn new(first: T) -> Self {
        Self { first, making: Lock::new(()), further: AtomicPtr::new(null_mut()) }
    }

    fn further(&self) -> impl Iterator<Item = &Further<T>> {
        // Acquire: pairs with the Release in `make`, also of those before it.
        let mut at = NonNull::new(self.further.load(Ordering::Acquire));
        core::iter::from_fn(move || {
            // SAFETY: NU2, whole when it was published.
            let further: &Further<T> = unsafe { at?.as_ref() };
            plain::read(further);
            at = NonNull::new(further.next);
            Some(further)
        })
    }

    /// Those there are, with their nodes; that of node 0 first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Node, &T)> {
        let further = self.further().map(|further| (further.node, &further.value));
        core::iter::once((Node(0), &self.first)).chain(further)
    }

    /// Whether node 0 alone has one. What is known to be another's was got, by the
    /// program's own synchronisation, from who knew of that one.
    #[inline]
    pub(crate) fn is_first_alone(&self) -> bool {
        // Relaxed: see above; `further` is what is followed.
        self.further.load(Ordering::Relaxed).is_null()
    }

    /// That of node 0.
    #[inline(always)]
    pub(crate) fn first(&self) -> &T {
        &self.first
    }

    /// A node's, if there is one.
    #[inline]
    pub(crate) fn get(&self, node: Node) -> Option<&T> {
        if node == Node(0) {
            return Some(&self.first);
        }
        self.further().find(|further| further.node == node).map(|further| &further.value)
    }

    /// A node's, made if there is none; `None` when out of memory.
    #[inline]
    pub(crate) fn get_or_make<C: Config<Env = E>>(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        node: Node,
        new: impl FnOnce() -> T,
    ) -> Option<&T> {
        self.get(node).or_else(|| self.make(regions, provider, node, new))
    }

    #[cold]
    #[inline(never)]
    fn make<C: Config<Env = E>>(
        &self,
        regions: &Regions<C>,
        provider: &C::Pages,
        node: Node,
        new: impl FnOnce() -> T,
    ) -> Option<&T> {
        let bytes = size_of::<Further<T>>();
        let memory = regions.keep(provider, node, bytes)?;
        // Held, so that `hold` knows all there are.
        let making = self.making.lock();
        if self.get(node).is_none() {
            let further = memory.cast::<Further<T>>();
            // Relaxed: changed under the lock alone.
            let next = self.further.load(Ordering::Relaxed);
            // SAFETY: whole pages of ours, long enough, for ever (NU2).
            unsafe { further.write(Further { node, next, value: new() }) };
            plain::wrote(further.as_ptr());
            // Release: publishes it; pairs with the Acquire in `further`.
            self.further.store(further.as_ptr(), Ordering::Release);
        } else {
            drop(making);
            regions.give_kept(memory, bytes);
        }
        self.get(node)
    }

    /// For `fork`: nothing is made from now on, and `close` is called for each.
    pub(crate) fn hold(&self, close: impl Fn(&T)) {
        self.making.hold();
        self.all().for_each(|(_, value)| close(value));
    }

    /// Lets be made again, after `open` has been called for each.
    ///
    /// # Safety
    ///
    /// Caller: closed it by [`hold`](Self::hold), see there.
    pub(crate) unsafe fn unhold(&self, open: impl Fn(&T)) {
        self.all().for_each(|(_, value)| open(value));
        // SAFETY: by the contract.
        unsafe { self.making.unhold() };
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "nodes_models.rs"]
mod models;
