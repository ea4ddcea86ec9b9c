//! Above the layers: the ways in that Rust knows.

mod allocator;
mod global_alloc;

pub use allocator::Door;
pub use allocator_api2::alloc::{AllocError, Allocator};

use crate::base::config::Config;
use crate::base::env::Environment;
use crate::cache::Resettable;
use crate::heap::{Heap, LocalHeap, OwnedHeap};
use crate::provider::PageProvider;

crate::allocator_through!([C: Config] &Heap<C>, this => *this);
crate::allocator_through!(
    [C: Config<Front: Resettable<C::Env>>] &OwnedHeap<C>, this => &***this
);
crate::allocator_through!(
    [P: PageProvider + 'static, E: Environment] &LocalHeap<P, E>, this => this.whole()
);

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
