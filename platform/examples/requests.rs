//! A server's memory, by how long it lives: connections in an object cache,
//! messages between threads in a shared pool, requests in arenas with clean-up,
//! packets in batches.
//!
//! ```sh
//! cargo run --example requests
//! ```

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use granule::arena::Arena;
use granule::doors::AllocError;
use granule::pools::{ObjectCache, Shared, SharedPool};
use granule::{Granule, process_heap};

#[global_allocator]
static GLOBAL: Granule = Granule::new();

/// A message, from one thread to another.
type Message<'p> = Shared<'p, u64, Granule>;

static CLOSED: AtomicU32 = AtomicU32::new(0);

/// One request: all it needs is in the arena, and its file is closed whatever
/// happens.
fn handle(arena: &mut Arena<Granule>, body: &str) -> Result<usize, AllocError> {
    arena.scope(|request| {
        request.defer(|| {
            CLOSED.fetch_add(1, Ordering::Relaxed);
        })?;
        let header = request.alloc_str("content-length: ")?;
        let mut answer = allocator_api2::vec::Vec::new_in(&*request);
        answer.extend_from_slice(header.as_bytes());
        answer.extend_from_slice(body.as_bytes());
        Ok(answer.len())
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let short = |_| "memory is short";

    // Buffers are made once, and handed out as they came back.
    let buffers = ObjectCache::new_in(|| String::with_capacity(4096), Granule::new());
    let mut arena = Arena::new_in(Granule::new());
    let mut bytes = 0;
    for number in 0..1000 {
        let mut buffer = buffers.get().map_err(short)?;
        buffer.clear();
        buffer.extend(std::iter::repeat_n('x', number % 100));
        bytes += handle(&mut arena, &buffer).map_err(short)?;
    }
    println!(
        "1,000 requests, {bytes} bytes, {} buffer made, {} bytes of arena",
        buffers.made(),
        arena.bytes()
    );
    assert_eq!((buffers.made(), CLOSED.load(Ordering::Relaxed)), (1, 1000));

    // Messages that another thread gives back.
    let messages = SharedPool::new_in(Granule::new());
    let sum = thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        let sum =
            scope.spawn(move || receive.iter().map(|message: Message<'_>| *message).sum::<u64>());
        for number in 0..1000u64 {
            let message = messages.alloc(number).map_err(short)?;
            send.send(message).map_err(|_| "nobody listens")?;
        }
        drop(send);
        sum.join().map_err(|_| "the listener panicked")
    })?;
    println!("1,000 messages, sum {sum}, at most {} at a time", messages.peak());
    assert_eq!(sum, 499_500);

    // Packets, a burst at a time.
    let packet = Layout::from_size_align(1536, 64)?;
    let mut burst = [MaybeUninit::<NonNull<u8>>::uninit(); 256];
    let filled = process_heap().alloc_batch(packet, &mut burst);
    // SAFETY: so many were written.
    let burst: Vec<_> =
        burst[..filled].iter().map(|block| unsafe { block.assume_init() }).collect();
    assert!(burst.iter().all(|block| block.addr().get().is_multiple_of(64)));
    // SAFETY: live, and of that layout.
    unsafe { process_heap().dealloc_batch(&burst, packet) };
    println!("{filled} packets of 1,536 bytes in one call");
    Ok(())
}
