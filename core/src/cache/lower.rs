//! What lies below the cache, as its paths need it.

use super::frontend::FrontEnd;
use crate::base::config::Config;
use crate::base::limits::Placement;
use crate::provider::Node;
use crate::region::Regions;
use crate::region::nodes::{known, nodes};
use crate::slab::Slabs;

/// The layers below and the hook, as the paths need them.
pub(crate) struct Lower<'a, C: Config> {
    pub front: &'a C::Front,
    pub provider: &'a C::Pages,
    pub regions: &'a Regions<C>,
    pub slabs: &'a Slabs<C>,
}

impl<C: Config> Clone for Lower<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Config> Copy for Lower<'_, C> {}

impl<C: Config> Lower<'_, C> {
    /// Whether nodes are told apart, and blocks belong to those who are near.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        nodes::<C>(self.provider) > 1 && C::limits().placement == Placement::Local
    }

    /// The node whose cached objects the caller uses.
    #[inline]
    pub(crate) fn node(&self) -> Node {
        if self.is_local() { known::<C>(self.provider, self.front.node()) } else { Node(0) }
    }

    /// The node that the caller's next memory comes from.
    #[inline]
    pub(crate) fn source(&self) -> Node {
        let nodes = nodes::<C>(self.provider);
        if nodes > 1 && C::limits().placement == Placement::Interleaved {
            return self.regions.next_node(nodes);
        }
        self.node()
    }
}
