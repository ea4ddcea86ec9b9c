//! Objects and sheaves of several nodes, each where it belongs.
//!
//! A hit does not ask where an object comes from, so a sheaf in use may hold any.
//! What overflows is sorted:
//!
//! ```text
//! full sheaf ┬ all the caller's node's:  stash ─ depot of the node ─ slabs
//!            ├ all another node's:       depot of that node ─ slabs
//!            └ mixed: others' objects ─▶ their slabs
//!                     own ─▶ half a sheaf back into use, the rest to slabs
//! ```
//! NU3: a full sheaf in a stash or depot has objects of one node, but for those
//! that calls which may not wait have put there, unsorted: no more than locality
//! hangs on it, since slabs know their lists. A stash that
//! comes to another node with its thread or number gives its sheaves to the
//! depot they belong to. Half a sheaf, so that each free is looked at twice at
//! most.
//!
//! (Linux's SLUB does without: its sheaves take objects of the CPU's own node
//! only, and test each at the free.)

use super::depot::Depot;
use super::frontend::FrontEnd;
use super::lower::Lower;
use super::sheaf::{Sheaf, Word, capacity};
use super::slot::Slot;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::provider::Node;
use core::ptr::NonNull;

/// What became of a full sheaf.
pub(super) enum Sent {
    /// All of it is the caller's node's: untouched.
    Local(Sheaf),
    /// It is gone, or what is left of it belongs to slabs.
    Away(Option<Sheaf>),
}

impl<C: Config> Cache<C> {
    /// Whether a block is another node's than the caller's.
    pub(super) fn is_foreign(lower: &Lower<C>, block: NonNull<u8>) -> bool {
        lower.is_local() && lower.regions.node_of(block.as_ptr()) != lower.node()
    }

    /// Sends what of a full sheaf is not of the caller's node home.
    #[inline]
    pub(super) fn sent_home(&self, lower: &Lower<C>, class: Class, sheaf: Sheaf) -> Sent {
        if lower.is_local() { self.sort(lower, class, sheaf) } else { Sent::Local(sheaf) }
    }

    #[cold]
    fn sort(&self, lower: &Lower<C>, class: Class, mut sheaf: Sheaf) -> Sent {
        let objects = sheaf.objects();
        let Some(first) = objects.first() else { return Sent::Away(Some(sheaf)) };
        let (own, home) = (lower.node(), lower.regions.node_of(first.load(Relaxed)));
        if gather(lower, objects, home) == objects.len() {
            if home == own {
                return Sent::Local(sheaf);
            }
            return Sent::Away(self.put_home(lower, class, sheaf));
        }
        let local = gather(lower, objects, own);
        let mut rest = &objects[local..];
        while let Some(first) = rest.first() {
            let count = gather(lower, rest, lower.regions.node_of(first.load(Relaxed)));
            lower.slabs.release(&lower.regions, class, &rest[..count]);
            rest = &rest[count..];
        }
        while sheaf.len() > local {
            // Released above.
            let _ = sheaf.pop();
        }
        for _ in 0..capacity(class, sheaf.order()) / 2 {
            let Some(object) = sheaf.pop() else { break };
            // SAFETY: live to the slabs, and nobody's: out of a sheaf of ours.
            if !unsafe { lower.front.push(class, object.as_ptr()) } {
                sheaf.push(object);
                break;
            }
        }
        Sent::Away(Some(sheaf))
    }

    /// Puts a full sheaf (NU3) into the depot of its objects' node, or gives it
    /// back when there are enough, or no memory for the depot.
    pub(super) fn put_home(&self, lower: &Lower<C>, class: Class, sheaf: Sheaf) -> Option<Sheaf> {
        let home = match sheaf.objects().first() {
            Some(first) if lower.is_local() => lower.regions.node_of(first.load(Relaxed)),
            _ => Node(0),
        };
        let depot = self.depots.get_or_make(&lower.regions, &lower.provider, home, Depot::new);
        match depot {
            Some(depot) => depot.put(class, sheaf, self.depot_limit(lower)),
            None => Some(sheaf),
        }
    }

    /// Takes a full sheaf of the caller's node.
    #[inline]
    pub(super) fn take_local(&self, lower: &Lower<C>, class: Class) -> Option<Sheaf> {
        self.depots.get(lower.node()).and_then(|depot| depot.take(class))
    }

    /// Takes a full sheaf, of the caller's node if it has one, out of a depot
    /// that nobody is at.
    pub(super) fn take_nolock(&self, lower: &Lower<C>, class: Class) -> Option<Sheaf> {
        let own = self.depots.get(lower.node()).and_then(|depot| depot.take_nolock(class));
        if C::NODES <= 1 {
            return own;
        }
        own.or_else(|| self.depots.all().find_map(|(_, depot)| depot.take_nolock(class)))
    }

    /// Sends what a slot has stashed home when its CPU, or thread, is near
    /// another node than it was.
    #[inline]
    pub(super) fn settle(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        if lower.is_local() {
            let node = u32::from(lower.node().0);
            if slot.node.load(Relaxed) != node {
                slot.node.store(node, Relaxed);
                self.unstash(lower, slot);
            }
        }
    }

    #[cold]
    fn unstash(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        for class in Class::all() {
            // The lock is dropped before the depot is called.
            while let Some(sheaf) = { slot.stash.try_lock().and_then(|mut s| s.pop_full(class)) } {
                if let Some(sheaf) = self.put_home(lower, class, sheaf) {
                    self.pool.give(super::paths::flush(lower, class, sheaf));
                }
            }
        }
    }
}

/// Moves the objects of a node to the front; returns how many there are.
fn gather<C: Config>(lower: &Lower<C>, objects: &[Word], node: Node) -> usize {
    let mut count = 0;
    for (at, word) in objects.iter().enumerate() {
        // Relaxed: the sheaf is the caller's (C1).
        let object = word.load(Relaxed);
        if lower.regions.node_of(object) == node {
            word.store(objects[count].load(Relaxed), Relaxed);
            objects[count].store(object, Relaxed);
            count += 1;
        }
        debug_assert!(count <= at + 1, "no more than were looked at");
    }
    count
}
