//! Heaps beside the process's, across `fork`: a static one, and one that ends.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

use granule::heap::OwnedHeap;
use granule_core::{Config, Heap};

static HEAP: granule::Heap = granule::new_heap();

const BESIDE: usize = 5;

/// Allocates and frees some blocks, and leaves them in the thread's cache.
fn use_heap<C: Config>(heap: &Heap<C>) {
    let layout = Layout::new::<[u64; 16]>();
    let blocks: Vec<_> =
        (0..50).map(|_| NonNull::new(heap.alloc(layout)).expect("memory")).collect();
    for block in blocks {
        // SAFETY: live, of that layout, freed once.
        unsafe { heap.dealloc(block, layout) };
    }
}

/// Whether all caches, whoever had them, go back when memory is asked for.
fn goes_back<C: Config>(heap: &Heap<C>) -> bool {
    let cached = heap.stats().cached_bytes;
    heap.reclaim();
    let stats = heap.stats();
    cached > 0 && heap.check().is_ok() && (stats.cached_bytes, stats.live_bytes()) == (0, 0)
}

/// What the child does; its exit code says what failed.
fn child(ending: &OwnedHeap<'_>) -> i32 {
    // Of threads that are not here.
    if !goes_back(&HEAP) {
        return 3;
    }
    if !goes_back(ending) {
        return 4;
    }
    use_heap(&HEAP);
    let before = HEAP.stats().slots;
    // One after the other: each finds the number, and the cache, of the last.
    for _ in 0..300 {
        if thread::spawn(|| use_heap(&HEAP)).join().is_err() {
            return 1;
        }
    }
    let stats = HEAP.stats();
    if stats.slots > before || stats.live_bytes() != 0 { 2 } else { 0 }
}

#[test]
fn the_child_takes_the_caches_and_the_numbers_of_lost_threads() {
    let (ready, done) = (Barrier::new(BESIDE + 1), Barrier::new(BESIDE + 1));
    let ending = &OwnedHeap::new().expect("memory");
    use_heap(&HEAP);
    thread::scope(|scope| {
        let beside = || {
            use_heap(&HEAP);
            use_heap(&**ending);
            ready.wait();
            done.wait();
            use_heap(&HEAP);
        };
        let threads: Vec<_> = (0..BESIDE).map(|_| scope.spawn(beside)).collect();
        ready.wait();
        HEAP.before_fork();
        // SAFETY: the child runs code of this test alone and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        // SAFETY: `before_fork` was called, and nothing of the heap's since.
        unsafe { HEAP.after_fork() };
        if pid == 0 {
            // SAFETY: ends the child without its destructors.
            unsafe { libc::_exit(child(ending)) };
        }
        let mut status = -1;
        // SAFETY: `status` is writable.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        done.wait();
        assert_eq!(waited, pid);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
        // The scope waits for what they do, a join also for what is done at their ends.
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    // Nor does the end of a thread leave its caches where nobody gets at them.
    assert!(goes_back(&HEAP) && goes_back(&**ending));
}
