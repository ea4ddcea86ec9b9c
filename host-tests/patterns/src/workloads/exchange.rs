//! Blocks that one thread takes and another gives back.

use super::Workload;
use crate::block::Block;
use crate::random::Random;
use crate::team::together;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Producers and consumers, in pairs: `threads` counts the pairs.
pub(crate) const HANDOFF: Workload = Workload {
    name: "handoff",
    about: "a block of 16 to 512 bytes freed by another thread, in pairs of threads",
    threads: &[1, 2],
    operations: 1_500_000,
    run: hand_off,
};

/// Blocks handed over at once: the queue shall not be what is measured.
const BATCH: usize = 128;
/// Batches waiting at most, so that a slow consumer bounds the memory.
const QUEUE: usize = 32;

/// The ends of a queue, each to be taken by one thread.
type Ends = (Mutex<Option<SyncSender<Vec<Block>>>>, Mutex<Option<Receiver<Vec<Block>>>>);

fn hand_off(pairs: usize, operations: u64) -> Duration {
    let queues: Vec<Ends> = (0..pairs)
        .map(|_| {
            let (send, receive) = sync_channel(QUEUE);
            (Mutex::new(Some(send)), Mutex::new(Some(receive)))
        })
        .collect();
    together(pairs * 2, |number| {
        let (send, receive) = &queues[number / 2];
        if number % 2 == 0 {
            produce(number, operations, take(send));
        } else {
            take(receive).into_iter().for_each(drop);
        }
    })
}

/// Sends `operations` blocks in batches, then closes the queue.
fn produce(number: usize, operations: u64, queue: SyncSender<Vec<Block>>) {
    let mut random = Random::new(number);
    let mut left = operations;
    while left > 0 {
        let now = left.min(BATCH as u64);
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
