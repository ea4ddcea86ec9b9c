//! Beside the layers: checks of what is plugged into them.

pub mod conformance;
#[cfg(loom)]
pub mod model;

#[cfg(test)]
pub(crate) mod arena;
#[cfg(test)]
pub(crate) mod counting;
#[cfg(test)]
pub(crate) mod four_nodes;
#[cfg(all(test, loom))]
pub(crate) mod model_surroundings;
#[cfg(test)]
mod page_flags;
#[cfg(test)]
pub(crate) mod surroundings;
