//! What the fuzzer does with its bytes: programs of structured actions, run
//! against a shadow. A library, so that the committed corpus is replayed by an
//! ordinary test with a stable compiler, and a crash is debugged as one.
//!
//! - [`heap`]: a whole heap, several CPUs, drains, refusals by the provider;
//! - [`direct`]: the slab layer and the region engine, each alone, below a heap
//!   that has no caches;
//! - [`c_abi`]: the C interface of the library, on Linux;
//! - [`early`]: the heap of a kernel's first instructions;
//! - [`frames`]: page frames out of any memory map.

use arbitrary::{Arbitrary, Unstructured};

#[cfg(target_os = "linux")]
pub mod c_abi;
pub mod direct;
pub mod early;
pub mod frames;
pub mod heap;
mod owned;

/// Runs what the bytes say, if they say anything.
pub fn replay<P: for<'a> Arbitrary<'a>>(bytes: &[u8], run: impl FnOnce(&P)) {
    if let Ok(program) = P::arbitrary_take_rest(Unstructured::new(bytes)) {
        run(&program);
    }
}
