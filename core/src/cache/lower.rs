//! What lies below the cache, as its paths need it.

use super::frontend::FrontEnd;
use crate::base::config::Config;
use crate::base::limits::Placement;
use crate::provider::Node;
use crate::region::Regions;
use crate::region::nodes::{known, nodes};
use crate::slab::Slabs;

/// The hook, and the layers below, of a heap. In one place, so that paths pass one
/// reference down.
pub(crate) struct Lower<C: Config> {
    pub front: C::Front,
    pub regions: Regions<C>,
    pub slabs: Slabs<C>,
    pub provider: C::Pages,
}

impl<C: Config> Lower<C> {
    pub(crate) const fn new(provider: C::Pages, front: C::Front) -> Self {
        Self { front, regions: Regions::new(), slabs: Slabs::new(), provider }
    }

    /// Whether nodes are told apart, and blocks belong to those who are near.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        nodes::<C>(&self.provider) > 1 && C::limits().placement == Placement::Local
    }

    /// The node whose cached objects the caller uses.
    #[inline]
    pub(crate) fn node(&self) -> Node {
        if self.is_local() { known::<C>(&self.provider, self.front.node()) } else { Node(0) }
    }

    /// The node that the caller's next memory comes from.
    #[inline]
    pub(crate) fn source(&self) -> Node {
        let nodes = nodes::<C>(&self.provider);
        if nodes > 1 && C::limits().placement == Placement::Interleaved {
            return self.regions.next_node(nodes);
        }
        self.node()
    }
}
