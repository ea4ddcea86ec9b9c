//! What a sanitizer has to report, to show that it can: `cargo xtask verify
//! sanitizer` runs it, and nobody else should.
//!
//! | argument | what is done | what has to be reported |
//! |---|---|---|
//! | `race` | two threads use a heap whose environment says that there is one, so that its locks order nothing | a data race |
//! | `freed` | the memory under a heap is freed, and the heap used | an access to freed memory |
//! | `sound` | the same, done right | nothing |
//!
//! In either case the accesses are the core's own.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use granule_core::base::fault::Fault;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::provider::NoPages;
use granule_core::{Config, Environment, Heap};

/// An environment that knows of other threads, or denies them.
struct Env<const SHARED: bool>;

// SAFETY: nothing nests, allocates from the heap, or returns from a fault. Without
// `SHARED` it lies to two threads: they use the heap one after the other, so that
// no more becomes of it than the report.
unsafe impl<const SHARED: bool> Environment for Env<SHARED> {
    type Exclusion = ();

    fn shared() -> bool {
        SHARED
    }

    fn exclude() {}

    fn wait(_spins: u32) {
        thread::yield_now();
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("fault: {fault}");
        std::process::exit(3)
    }
}

/// No CPU has a cache: all calls take the locks.
struct NoCpu;

// SAFETY: nobody is ever let in.
unsafe impl Cpu for NoCpu {
    type Guard = ();

    fn try_enter() -> Option<(usize, ())> {
        None
    }
}

struct Small<const SHARED: bool>;

impl<const SHARED: bool> Config for Small<SHARED> {
    type Pages = NoPages;
    type Front = Guarded<NoCpu, Env<SHARED>, 1>;
    type Env = Env<SHARED>;
}

const MEMORY: Layout = match Layout::from_size_align(1 << 20, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// A heap for ever, and its memory.
fn heap<const SHARED: bool>() -> (&'static Heap<Small<SHARED>>, *mut u8) {
    // SAFETY: not empty.
    let memory = unsafe { std::alloc::alloc_zeroed(MEMORY) };
    let heap = Box::leak(Box::new(Heap::new(NoPages, Guarded::new())));
    let start = NonNull::new(memory).expect("memory");
    // SAFETY: the heap's alone; where it is freed nevertheless a report is wanted.
    unsafe { heap.add_region(start, MEMORY.size()) }.expect("room");
    (heap, memory)
}

fn use_heap<const SHARED: bool>(heap: &Heap<Small<SHARED>>) {
    let layout = Layout::new::<[u64; 8]>();
    let blocks = [(); 100].map(|()| NonNull::new(heap.alloc(layout)).expect("memory"));
    for block in blocks {
        // SAFETY: live, of that layout, freed once.
        unsafe { heap.dealloc(block, layout) };
    }
}

/// Two threads one after the other, with nothing between them but the heap's locks.
fn one_after_the_other<const SHARED: bool>() {
    let (heap, _) = heap::<SHARED>();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            use_heap(heap);
            // Relaxed: it must not order what the locks have to.
            done.store(true, Relaxed);
        });
        scope.spawn(|| {
            while !done.load(Relaxed) {
                thread::yield_now();
            }
            use_heap(heap);
        });
    });
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("race") => one_after_the_other::<false>(),
        Some("freed") => {
            let (heap, memory) = heap::<true>();
            use_heap(heap);
            // SAFETY: of that layout. Not allowed while there is the heap.
            unsafe { std::alloc::dealloc(memory, MEMORY) };
            use_heap(heap);
        }
        Some("sound") => one_after_the_other::<true>(),
        _ => eprintln!("race, freed or sound?"),
    }
}
