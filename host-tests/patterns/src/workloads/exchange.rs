//! Blocks that one thread takes and another gives back.
//!
//! After `xmalloc` (Lever and Boreham, "malloc() Performance in a Multithreaded
//! Linux Environment", USENIX 2000), whose threads pair up as producers and
//! consumers, and after the asymmetric load of snmalloc's paper (Liétar and
//! others, "snmalloc: A Message Passing Allocator", ISMM 2019), in which some
//! threads only take and others only free.

use super::{SHARED, Workload};
use crate::block::Block;
use crate::random::Random;
use crate::team::{Took, share, together};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Producers and consumers, in pairs.
pub(crate) const HANDOFF: Workload = Workload {
    name: "handoff",
    about: "a block of 16 to 512 bytes freed by another thread, in pairs of threads",
    threads: SHARED,
    operations: 4_000_000,
    run: |threads, operations| {
        let pairs = (threads / 2).max(1);
        exchange(pairs, |pair| vec![pair], pairs, operations)
    },
};

/// One thread takes all, the others free.
pub(crate) const FAN_OUT: Workload = Workload {
    name: "fan-out",
    about: "a block of 16 to 512 bytes taken by one thread, freed by one of the others",
    threads: SHARED,
    operations: 4_000_000,
    run: |threads, operations| {
        let consumers = threads.max(2) - 1;
        exchange(1, |_| (0..consumers).collect(), consumers, operations)
    },
};

/// Blocks handed over at once: the queue shall not be what is measured.
const BATCH: usize = 128;
/// Batches waiting at most, so that a slow consumer bounds the memory.
const QUEUE: usize = 32;

/// The ends of a queue, each to be taken by one thread.
type Ends = (Mutex<Option<SyncSender<Vec<Block>>>>, Mutex<Option<Receiver<Vec<Block>>>>);

/// Runs producers and consumers; `feeds` tells which consumers a producer has.
fn exchange(
    producers: usize,
    feeds: impl Fn(usize) -> Vec<usize> + Sync,
    consumers: usize,
    operations: u64,
) -> Took {
    let queues: Vec<Ends> = (0..consumers)
        .map(|_| {
            let (send, receive) = sync_channel(QUEUE);
            (Mutex::new(Some(send)), Mutex::new(Some(receive)))
        })
        .collect();
    together(producers + consumers, |number| match number.checked_sub(producers) {
        None => {
            let queues: Vec<_> =
                feeds(number).into_iter().map(|queue| take(&queues[queue].0)).collect();
            produce(number, share(operations, producers), &queues);
        }
        Some(consumer) => take(&queues[consumer].1).into_iter().for_each(drop),
    })
}

/// Sends `operations` blocks in batches to each queue in turn.
fn produce(number: usize, operations: u64, queues: &[SyncSender<Vec<Block>>]) {
    let mut random = Random::new(number);
    let mut left = operations;
    for queue in queues.iter().cycle() {
        let now = left.min(BATCH as u64);
        if now == 0 {
            break;
        }
        let batch = (0..now).map(|_| Block::new(16 + random.below(497))).collect();
        queue.send(batch).expect("the consumer stays until the queue is closed");
        left -= now;
    }
}

/// Takes an end out of its place.
fn take<T>(end: &Mutex<Option<T>>) -> T {
    let mut end = end.lock().expect("nobody panics while holding an end");
    end.take().expect("one thread for each end")
}
