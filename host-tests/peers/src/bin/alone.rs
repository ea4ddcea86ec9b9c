//! What a heap of one thread saves by having no atomics: the same front end and
//! limits with them, beside it. Nanoseconds a block, the least of several,
//! interleaved.
//!
//! ```sh
//! cargo run --release -p granule-peers --features granule --bin alone
//! ```

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Instant;

use granule::base::limits::Limits;
use granule::cache::alone::Alone;
use granule::core_api::heap::OwnedHeap;
use granule::heap::LocalHeap;
use granule::{Config, HostEnv, HostPages};

/// How often each is measured.
const TURNS: usize = 41;

/// Blocks that are taken before they are freed, their size, and how often.
const USES: [(&str, usize, usize, usize); 5] = [
    ("1 block of 64 bytes, all hits", 1, 64, 200_000),
    ("1,000 blocks of 64 bytes", 1000, 64, 200),
    ("10,000 blocks of 512 bytes", 10_000, 512, 20),
    ("1,000 blocks of 4,096 bytes", 1000, 4096, 100),
    ("16 blocks of 5 MiB, untouched", 16, 5 << 20, 500),
];

/// As the configuration of a [`LocalHeap`], but for the environment, which says
/// that there are other threads as long as there are.
struct Shared;

impl Config for Shared {
    type Pages = HostPages;
    type Front = Alone<HostEnv>;
    type Env = HostEnv;

    const LIMITS: Limits = Limits::FRUGAL;
}

fn layout(size: usize) -> Layout {
    // SAFETY: 16 is a power of two, and sizes are small.
    unsafe { Layout::from_size_align_unchecked(size, 16) }
}

/// Nanoseconds a block.
fn time(
    (count, size, rounds): (usize, usize, usize),
    blocks: &mut Vec<NonNull<u8>>,
    alloc: impl Fn(Layout) -> *mut u8,
    dealloc: impl Fn(NonNull<u8>, Layout),
) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        let layout = black_box(layout(size));
        blocks.extend((0..count).map(|_| NonNull::new(alloc(layout)).expect("memory")));
        blocks.drain(..).for_each(|block| dealloc(black_box(block), layout));
    }
    start.elapsed().as_nanos() as f64 / (rounds * count) as f64
}

fn main() {
    // The C library knows of a second thread from here on.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let second = std::thread::spawn(move || ended.recv());
    // SAFETY: this thread alone uses the heap.
    let shared = OwnedHeap::<Shared>::new(HostPages::for_heaps(), unsafe { Alone::new() });
    let alone = LocalHeap::new(HostPages::for_heaps());
    let mut blocks = Vec::with_capacity(10_000);
    println!("{:36}{:>10}{:>10}", "nanoseconds a block", "atomics", "none");
    for (about, count, size, rounds) in USES {
        let what = (count, size, rounds);
        let mut least = [f64::MAX; 2];
        for _ in 0..TURNS {
            let times = [
                time(
                    what,
                    &mut blocks,
                    |layout| shared.alloc(layout),
                    |block, layout| {
                        // SAFETY: live, of that layout; freed once.
                        unsafe { shared.dealloc(block, layout) };
                    },
                ),
                time(
                    what,
                    &mut blocks,
                    |layout| alone.alloc(layout),
                    |block, layout| {
                        // SAFETY: as above.
                        unsafe { alone.dealloc(block, layout) };
                    },
                ),
            ];
            for (least, now) in least.iter_mut().zip(times) {
                *least = least.min(now);
            }
        }
        println!("{about:36}{:10.2}{:10.2}", least[0], least[1]);
    }
    drop(end);
    let _ = second.join();
}
