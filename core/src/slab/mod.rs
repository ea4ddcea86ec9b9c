//! Layer 3, slabs. Uses: region, base. Never: cache, heap.
//!
//! A *slab* is a run of pages cut into objects of one size class. Which ones
//! are free says a bitmap in the pages' descriptors, away from the objects:
//! no free object holds anything of ours, so a write after free cannot harm
//! the allocator, and a bit that is already set is a double free.
//!
//! - [`header`]: one slab: its header, bitmap and colour;
//! - `pages`: its pages: which are free, which have been given back;
//! - [`class_slabs`]: the slabs of one class, by how full they are;
//! - [`slabs`]: all classes: claim and release in batches;
//! - `idle`: free pages of partly used slabs given back.

pub(crate) mod class_slabs;
pub(crate) mod header;
pub(crate) mod idle;
mod pages;
#[allow(clippy::module_inception)]
pub(crate) mod slabs;

pub(crate) use slabs::Slabs;
