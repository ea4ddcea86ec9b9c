//! Beside the layers: checks of what is plugged into them.

pub mod conformance;

#[cfg(test)]
pub(crate) mod arena;
#[cfg(test)]
pub(crate) mod surroundings;
