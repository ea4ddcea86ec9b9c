//! Blocks of different threads on one line of the cache.
//!
//! After `cache-thrash` and `cache-scratch` of Berger, McKinley, Blumofe and
//! Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
//! Applications", ASPLOS 2000. An allocator shares lines *actively* when it
//! hands parts of one line to several threads, and *passively* when it lets a
//! thread reuse what it freed of a line that others still write to.

use super::{SCALE, SHARED, Workload};
use crate::block::Block;
use crate::team::{Took, share, together};
use std::sync::Mutex;

/// Bytes of a block: several fit on a line.
const SIZE: usize = 8;
/// Writes to each block.
const WRITES: usize = 100;

/// Threads that take blocks at the same time.
pub(crate) const ACTIVE: Workload = Workload {
    name: "false-active",
    about: "8 bytes taken, written 100 times, given back, by threads side by side",
    threads: SCALE,
    operations: 5_000_000,
    run: |threads, operations| together(threads, |_| write(share(operations, threads))),
};

/// The same after each thread freed a block that it was given.
pub(crate) const PASSIVE: Workload = Workload {
    name: "false-passive",
    about: "the same, after each thread freed one of several blocks that one thread took",
    threads: SHARED,
    operations: 5_000_000,
    run: passive,
};

fn passive(threads: usize, operations: u64) -> Took {
    let given: Vec<_> = (0..threads).map(|_| Mutex::new(Some(Block::new(SIZE)))).collect();
    together(threads, |number| {
        drop(given[number].lock().expect("nobody panics while holding one").take());
        write(share(operations, threads));
    })
}

fn write(blocks: u64) {
    for _ in 0..blocks {
        let mut block = Block::new(SIZE);
        for _ in 0..WRITES {
            block.write(SIZE - 1);
        }
    }
}
