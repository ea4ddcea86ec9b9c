//! Pools: many values of one type, where a general heap is the wrong tool.
//!
//! All take *chunks* from an [`Allocator`](crate::doors::Allocator), a heap
//! for instance, each about as large as all before it, and give them back when
//! they are dropped. A value costs its size, no more; to take one is to pop a
//! list or to move a cursor. What they are for:
//!
//! | | shared by | a free block is | use it for |
//! |---|---|---|---|
//! | [`Pool`] | one thread | memory | nodes, requests, whatever comes and goes |
//! | [`ObjectCache`] | one thread | a constructed value | values that are dear to make |
//! | [`SharedPool`] | all threads, lock-free | memory | the same between threads |
//!
//! - `chunks`: memory by the chunk;
//! - `blocks`: a list of free blocks over it;
//! - `stack`: the lock-free list.

mod blocks;
mod chunks;
mod object_cache;
mod pool;
#[cfg(target_has_atomic = "64")]
mod shared;
#[cfg(target_has_atomic = "64")]
mod stack;

pub use object_cache::{Cached, ObjectCache};
pub use pool::{Pool, Pooled};
#[cfg(target_has_atomic = "64")]
pub use shared::{Shared, SharedPool};
