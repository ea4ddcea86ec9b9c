//! Blocks that one thread makes and another drops.

use std::sync::mpsc::channel;
use std::thread;

/// `threads` producers send `each` vectors; the sum of all their lengths.
pub fn sum_of_parts(threads: usize, each: usize) -> usize {
    let (send, receive) = channel::<Vec<u8>>();
    let producers: Vec<_> = (0..threads)
        .map(|thread| {
            let send = send.clone();
            thread::spawn(move || {
                for at in 0..each {
                    send.send(vec![1; (at * 37 + thread) % 3000]).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    let sum = receive.into_iter().map(|part| part.len()).sum();
    for producer in producers {
        producer.join().unwrap();
    }
    sum
}
