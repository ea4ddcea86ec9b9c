//! A heap beside the process's, across `fork`.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

static HEAP: granule::Heap = granule::new_heap();

const BESIDE: usize = 5;

/// Allocates and frees some blocks, and leaves them in the thread's cache.
fn use_heap() {
    let layout = Layout::new::<[u64; 16]>();
    let blocks: Vec<_> =
        (0..50).map(|_| NonNull::new(HEAP.alloc(layout)).expect("memory")).collect();
    for block in blocks {
        // SAFETY: live, of that layout, freed once.
        unsafe { HEAP.dealloc(block, layout) };
    }
}

/// What the child does; its exit code says what failed.
fn child() -> i32 {
    use_heap();
    let before = HEAP.stats().slots;
    // One after the other: each finds the number, and the cache, of the last.
    for _ in 0..300 {
        if thread::spawn(use_heap).join().is_err() {
            return 1;
        }
    }
    let stats = HEAP.stats();
    if stats.slots > before || stats.live_bytes() != 0 { 2 } else { 0 }
}

#[test]
fn the_child_uses_the_heap_and_the_numbers_of_lost_threads() {
    let (ready, done) = (Barrier::new(BESIDE + 1), Barrier::new(BESIDE + 1));
    use_heap();
    thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                use_heap();
                ready.wait();
                done.wait();
                use_heap();
            });
        }
        ready.wait();
        HEAP.before_fork();
        // SAFETY: the child runs code of this test alone and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        // SAFETY: `before_fork` was called, and nothing of the heap's since.
        unsafe { HEAP.after_fork() };
        if pid == 0 {
            // SAFETY: ends the child without its destructors.
            unsafe { libc::_exit(child()) };
        }
        let mut status = -1;
        // SAFETY: `status` is writable.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        done.wait();
        assert_eq!(waited, pid);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
    });
    HEAP.reclaim();
    HEAP.check().expect("a whole heap");
    assert_eq!(HEAP.stats().live_bytes(), 0);
}
