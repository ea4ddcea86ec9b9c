//! Threads that come and go: their caches and numbers come back.

use std::alloc::Layout;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use granule_core::{Config, Heap};

/// Blocks of some classes, allocated and freed: a cache is filled.
fn use_heap<C: Config>(heap: &Heap<C>) {
    for size in [16, 64, 200, 1024, 5000] {
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let blocks: [_; 20] =
            std::array::from_fn(|_| NonNull::new(heap.alloc(layout)).expect("memory"));
        for block in blocks {
            // SAFETY: live, of that layout, freed once.
            unsafe { heap.dealloc(block, layout) };
        }
    }
}

/// One test at a time: they count the process's slots.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many threads at once use the process's heap, and end. Slots in use while
/// they lived.
fn slots_of(threads: usize) -> usize {
    let together = Arc::new(Barrier::new(threads + 1));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let together = Arc::clone(&together);
            thread::spawn(move || {
                use_heap(granule::process_heap());
                together.wait();
                together.wait();
                use_heap(granule::process_heap());
            })
        })
        .collect();
    together.wait();
    let slots = granule::process_heap().stats().slots;
    together.wait();
    for thread in threads {
        thread.join().expect("no panic");
    }
    slots
}

/// Fails unless threads that have ended left nothing behind: where they have
/// the caches, as many slots as before; elsewhere there is one a CPU.
fn check_slots(before: usize) {
    let stats = granule::process_heap().stats();
    if granule::caches() == granule::Caches::Threads {
        assert_eq!(stats.slots, before, "{stats:?}");
    }
    assert_eq!(stats.live_bytes(), 0, "{stats:?}");
    granule::process_heap().check().expect("a whole heap");
}

#[test]
fn slots_come_back_when_threads_end() {
    let _alone = alone();
    let before = granule::process_heap().stats().slots;
    let least = if granule::caches() == granule::Caches::Threads { 16 } else { 1 };
    assert!(slots_of(16) >= least);
    check_slots(before);
    let memory = granule::process_heap().stats().own_bytes;
    for _ in 0..20 {
        assert!(slots_of(16) >= least);
    }
    check_slots(before);
    // The later ones had the slots and sheaves of those before; a few sheaves
    // more depend on who met whom.
    let now = granule::process_heap().stats().own_bytes;
    assert!(now <= memory + (1 << 20), "{memory} bytes of slots and sheaves became {now}");
}

#[test]
fn a_thousand_threads_one_after_the_other_leave_nothing() {
    let _alone = alone();
    let before = granule::process_heap().stats().slots;
    for _ in 0..1000 {
        thread::spawn(|| use_heap(granule::process_heap())).join().expect("no panic");
    }
    check_slots(before);
}

/// Frees, when its thread ends, what the thread allocated before.
struct Late(Vec<(NonNull<u8>, Layout)>);

impl Drop for Late {
    fn drop(&mut self) {
        use_heap(granule::process_heap());
        for (block, layout) in self.0.drain(..) {
            // SAFETY: live, of that layout, freed once.
            unsafe { granule::process_heap().dealloc(block, layout) };
        }
    }
}

#[test]
fn destructors_of_thread_locals_may_use_the_heap() {
    thread_local! {
        static LATE: RefCell<Late> = const { RefCell::new(Late(Vec::new())) };
    }
    let _alone = alone();
    let before = granule::process_heap().stats().slots;
    for _ in 0..50 {
        let thread = thread::spawn(|| {
            LATE.with_borrow_mut(|late| {
                for size in 1..200 {
                    let layout = Layout::from_size_align(size * 40, 8).expect("a layout");
                    let block = granule::process_heap().alloc(layout);
                    late.0.push((NonNull::new(block).expect("memory"), layout));
                }
            });
        });
        thread.join().expect("no panic");
    }
    check_slots(before);
}

#[test]
fn numbers_of_threads_come_back_too() {
    static HEAP: granule::Heap = granule::new_heap();
    // More in all than there are numbers, a few at a time.
    for _ in 0..100 {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| use_heap(&HEAP));
            }
        });
    }
    let stats = HEAP.stats();
    // `scope` does not wait for the very end of threads: a number may come
    // back a moment later.
    assert!((1..=16).contains(&stats.slots), "{stats:?}");
    assert_eq!(stats.live_bytes(), 0, "{stats:?}");
}
