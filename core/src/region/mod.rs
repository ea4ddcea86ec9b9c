//! Layer 2, regions. Uses: provider, base. Never: slab, cache, heap.
//!
//! A *region* is one contiguous piece of pages with its descriptors. *Runs*
//! of pages are cut from regions for slabs and large objects, and coalesce
//! with both neighbours the moment they are given back.
//!
//! - [`bins`]: which free run to look at: a two-level index of sizes;
//! - [`runs`]: the coalescing engine, generic over its granule;
//! - [`descriptor`]: the tables behind a region's pages;
//! - [`layout`]: where they lie in a reservation;
//! - [`region`]: one region: tables, engine, watermark, commit;
//! - `commit`: pages and tables, ahead of the watermark;
//! - [`directory`]: address to region, without a lock; all regions;
//! - [`located`]: a page found from a pointer;
//! - [`span`]: consecutive granules;
//! - [`set`]: all regions of a heap: take, give, resize in place;
//! - [`growth`]: more regions;
//! - [`nodes`]: memory by nodes;
//! - `preallocate`: pages set aside beforehand;
//! - [`purge`]: giving memory back;
//! - `release`: giving all of it back at once;
//! - `walk`: the invariants of all this, verified.

pub(crate) mod bins;
mod commit;
pub(crate) mod descriptor;
pub(crate) mod directory;
pub(crate) mod growth;
mod layout;
pub(crate) mod located;
pub(crate) mod nodes;
mod preallocate;
pub(crate) mod purge;
#[allow(clippy::module_inception)]
pub(crate) mod region;
mod release;
pub(crate) mod runs;
pub(crate) mod set;
pub(crate) mod span;
pub(crate) mod walk;

pub(crate) use descriptor::DESCRIPTOR_BYTES;
pub(crate) use located::Located;
pub(crate) use nodes::{Near, PerNode};
pub(crate) use release::AllReleased;
pub(crate) use set::{Contents, Regions, Run};
