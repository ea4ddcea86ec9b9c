//! Layer 4, cache. Uses: slab, region, base. Never: heap.
//!
//! Each CPU (or thread: the hook decides) holds, per class, one *sheaf* of
//! object pointers; a hit pops from it or pushes to it. Behind the sheaves
//! in use stand, in this order: the CPU's *stash* of full ones, the class's
//! shared *depot*, the slabs. (Magazines and depot: Bonwick and Adams,
//! USENIX 2001; per-CPU caches without thread-local storage: tcmalloc.)
//!
//! From the bottom up; each uses only those above it in this list:
//!
//! - [`sheaf`]: a block of object pointers between two marks;
//! - `list`: a list of them;
//! - [`tops`]: what a fast path sees of a CPU: one word a class;
//! - `stash`: what a CPU has behind the sheaves in use;
//! - [`slot`]: a CPU's cache: tops, stash;
//! - [`frontend`]: the hook that finds it;
//! - [`place`]: where a CPU finds its cache;
//! - [`guarded`]: the portable front end over a CPU id and a guard;
//! - [`alone`]: the front end of a heap of one thread;
//! - `lower`: what the layers below are to the cache;
//! - `pool`: memory for sheaves and slots;
//! - `depot`: full sheaves that no CPU holds;
//! - `registry`: all slots;
//! - `whole`: these together, and the caller's place among them;
//! - `home`: objects and sheaves of nodes, each where it belongs;
//! - `exchange`: a stashed sheaf for the one in use;
//! - `paths`: the slow paths of small objects;
//! - `batch`: many of them in one call;
//! - `nolock`: the same where nothing may wait;
//! - `deferred`: blocks freed there that found no other place;
//! - `runs`: those of runs of pages;
//! - `cold`: emptying classes that a slot needs no more;
//! - `drain`: emptying slots and depot;
//! - `check`: the walk over what is cached.

pub mod alone;
pub mod frontend;
pub mod guarded;
pub mod place;
pub mod sheaf;
pub mod slot;
pub mod tops;

pub(crate) mod batch;
mod check;
mod cold;
pub(crate) mod deferred;
pub(crate) mod depot;
pub(crate) mod drain;
mod exchange;
mod home;
pub(crate) mod list;
pub(crate) mod lower;
pub(crate) mod nolock;
pub(crate) mod paths;
pub(crate) mod pool;
pub(crate) mod registry;
pub(crate) mod runs;
pub(crate) mod stash;
pub(crate) mod whole;

pub use frontend::{Current, FrontEnd, NoSuchCpu, Resettable};
pub(crate) use lower::Lower;
pub(crate) use paths::Depth;
pub(crate) use whole::Cache;
