//! Layer 4, cache. Uses: slab, region, base. Never: heap.
//!
//! Each CPU (or thread: the hook decides) holds, per class, one *sheaf* of
//! object pointers; a hit pops from it or pushes to it. Behind the sheaves
//! in use stand, in this order: the CPU's *stash* of full ones, the class's
//! shared *depot*, the slabs. (Magazines and depot: Bonwick and Adams,
//! USENIX 2001; per-CPU caches without thread-local storage: tcmalloc.)
//!
//! - [`sheaf`]: a block of object pointers between two marks;
//! - [`tops`]: what a fast path sees of a CPU: one word a class;
//! - [`frontend`]: the hook that finds it;
//! - [`guarded`]: the portable front end over a CPU id and a guard;
//! - `pool`: memory for sheaves and slots;
//! - [`slot`]: a CPU's cache, fast path and stash;
//! - `parked`: one large run a slot;
//! - `depot`: full sheaves that no CPU holds;
//! - `paths`: the slow paths, which bring these together;
//! - `drain`: emptying slots and depot.

pub mod frontend;
pub mod guarded;
pub mod sheaf;
pub mod slot;
pub mod tops;

pub(crate) mod depot;
pub(crate) mod drain;
pub(crate) mod parked;
pub(crate) mod paths;
pub(crate) mod pool;

pub use frontend::{Current, FrontEnd};
pub(crate) use paths::Cache;
