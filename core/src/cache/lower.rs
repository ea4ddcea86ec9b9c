//! What lies below the cache, as its paths need it.

use crate::base::config::Config;
use crate::region::Regions;
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
