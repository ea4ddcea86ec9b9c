//! Signal handlers that allocate, on top of anything that the heap does.
//!
//! `malloc` is not for handlers: one that misses the cache may wait for a lock
//! that the code below it holds. The calls that never wait are, where CPUs have
//! the caches; a thread's own cache knows nothing of handlers.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use granule_host_tests::model::Shadow;
use granule_host_tests::model::script::{Random, play};

/// Blocks that the handler holds from one signal to the next.
static HELD: [AtomicPtr<u8>; 16] = [const { AtomicPtr::new(null_mut()) }; 16];
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static SERVED: AtomicUsize = AtomicUsize::new(0);

fn layout_of(place: usize) -> Layout {
    // Sizes of the program below, so that both use the same sheaves.
    Layout::from_size_align([16, 48, 100, 1000][place % 4], 8).expect("a layout")
}

/// Frees what the place has, whole, and takes a new block.
extern "C" fn handler(_signal: libc::c_int) {
    let heap = granule::process_heap();
    let number = SIGNALS.fetch_add(1, Relaxed);
    for place in [number % 16, (number / 16 + 5) % 16] {
        let (layout, value) = (layout_of(place), place as u8 + 1);
        if let Some(old) = NonNull::new(HELD[place].swap(null_mut(), Relaxed)) {
            // SAFETY: the handler's own, of that layout; a signal is blocked
            // while it is handled, so nobody else has it.
            unsafe {
                let bytes = std::slice::from_raw_parts(old.as_ptr(), layout.size());
                if bytes.iter().any(|&byte| byte != value) {
                    libc::abort();
                }
                heap.dealloc_nolock(old, layout);
            }
        }
        if let Some(new) = NonNull::new(heap.try_alloc_nolock(layout)) {
            // SAFETY: just allocated.
            unsafe { new.as_ptr().write_bytes(value, layout.size()) };
            HELD[place].store(new.as_ptr(), Relaxed);
            SERVED.fetch_add(1, Relaxed);
        }
    }
}

/// Strikes until it is dropped.
struct Timer(libc::timer_t);

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made by `timer_create`, and deleted here alone.
        assert_eq!(unsafe { libc::timer_delete(self.0) }, 0);
    }
}

/// A timer that strikes the calling thread again and again.
fn strike_every(nanoseconds: libc::c_long) -> Timer {
    // SAFETY: all structures are whole; the handler is async-signal-safe, as
    // this test is there to show.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, null_mut()), 0);
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = std::mem::zeroed();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
        let period = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let periods = libc::itimerspec { it_interval: period, it_value: period };
        assert_eq!(libc::timer_settime(timer, 0, &periods, null_mut()), 0);
        Timer(timer)
    }
}

#[test]
fn a_handler_takes_and_frees_without_waiting() {
    let heap = granule::process_heap();
    let mut shadow = Shadow::new(heap);
    let mut random = Random::new(7);
    // The choice is made, and there are slabs to take from.
    play(&mut shadow, &mut random, 2000, 300, 100_000);
    if granule::caches() != granule::Caches::Cpus {
        println!("threads have the caches here: nothing is promised");
        shadow.free_all(1);
        return;
    }
    // No multiple of anything the program does.
    let timer = strike_every(61_007);
    for round in 0..40 {
        assert_eq!(play(&mut shadow, &mut random, 1500, 300, 100_000), 0);
        if round % 8 == 7 {
            heap.reclaim();
        }
    }
    drop(timer);
    let signals = SIGNALS.load(Relaxed);
    assert!(signals > 50 && SERVED.load(Relaxed) > 50, "{signals} signals");
    for (place, held) in HELD.iter().enumerate() {
        if let Some(block) = NonNull::new(held.swap(null_mut(), Relaxed)) {
            // SAFETY: the handler's, which strikes no more.
            unsafe { heap.dealloc(block, layout_of(place)) };
        }
    }
    shadow.check_counts();
    shadow.free_all(3);
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
}
