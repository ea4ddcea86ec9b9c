//! Layer 0, base. Uses: nothing. Units, size classes, configuration,
//! the environment hook, faults and locks: what every layer above speaks in.

pub(crate) mod bytes;
pub mod class;
pub mod config;
pub mod env;
pub mod fault;
pub mod limits;
pub mod origin;
pub mod sampling;
pub mod sync;
pub mod tier;
pub mod units;
pub mod violation;
