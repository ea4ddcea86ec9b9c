//! A real signal at every point of a script where the heap is about to take a lock or to
//! call the system, one after the other: its handler frees and allocates without waiting,
//! on top of whatever is held. After each the walk of the whole heap finds it intact.
//!
//! The core's tests do the same over a fake provider; here pages are the system's.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{NonNull, null, null_mut};

use granule::HostPages;
use granule_core::base::fault::Fault;
use granule_core::base::limits::Limits;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::heap::OwnedHeap;
use granule_core::provider::{Capabilities, ProviderError, Reservation};
use granule_core::{Config, Environment, Heap, PageProvider};
use granule_host_tests::model::script::{Random, play};
use granule_host_tests::model::{Fill, Shadow, check_empty};

const NEVER: usize = usize::MAX;

thread_local! {
    static HEAP: Cell<*const Heap<Struck>> = const { Cell::new(null()) };
    static POINTS: Cell<usize> = const { Cell::new(0) };
    static STRIKES_AT: Cell<usize> = const { Cell::new(NEVER) };
    /// Whether the handler finds its CPU entered.
    static ON_TOP: Cell<bool> = const { Cell::new(false) };
    static ENTERED: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<u32> = const { Cell::new(0) };
    /// What the handler holds from one signal to the next.
    static HELD: Cell<[Option<NonNull<u8>>; 2]> = const { Cell::new([None; 2]) };
    static SERVED: Cell<usize> = const { Cell::new(0) };
}

/// Sizes that the script begins with, so that there are slabs of them.
const LAYOUTS: [Layout; 2] = [Layout::new::<[u64; 3]>(), Layout::new::<[u64; 88]>()];

/// A place where a signal may strike, and does if it is its turn.
fn point() {
    let number = POINTS.replace(POINTS.get() + 1);
    if number == STRIKES_AT.get() {
        // SAFETY: the handler is async-signal-safe, as this test is there to show.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
    }
}

extern "C" fn handler(_signal: libc::c_int) {
    let entered = ENTERED.get();
    ENTERED.set(entered || ON_TOP.get());
    // SAFETY: the heap is alive as long as signals come.
    let heap = unsafe { &*HEAP.get() };
    let before = HELD.take();
    let taken = LAYOUTS.map(|layout| NonNull::new(heap.try_alloc_nolock(layout)));
    for (layout, old) in LAYOUTS.into_iter().zip(before) {
        if let Some(old) = old {
            // SAFETY: the handler's own, live, of that layout.
            unsafe { heap.dealloc_nolock(old, layout) };
        }
    }
    SERVED.set(SERVED.get() + taken.iter().flatten().count());
    HELD.set(taken);
    ENTERED.set(entered);
}

fn install() {
    // SAFETY: the structure is whole.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, null_mut()), 0);
    }
}

/// Locks are points; the clock jumps, so that ticks, purges and releases come.
#[derive(Clone, Copy, Debug)]
struct AtLocks;

// SAFETY: what comes on top of a call uses those that never wait. Nothing allocates from
// the heap under test, or returns from a fault.
unsafe impl Environment for AtLocks {
    type Exclusion = ();

    fn exclude() {
        point();
    }

    fn wait(_spins: u32) {
        // One thread: whoever waits, waits for himself.
        std::process::abort();
    }

    fn now_ms() -> u32 {
        NOW.set(NOW.get().wrapping_add(7));
        NOW.get()
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("fault: {fault}");
        std::process::abort()
    }
}

/// One CPU, which the handler may find entered.
#[derive(Clone, Copy, Debug)]
struct OwnCpu;

/// Leaves the CPU when dropped.
struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(false);
    }
}

// SAFETY: one thread uses the heap, and its flag keeps nested entries out.
unsafe impl Cpu for OwnCpu {
    type Guard = Entered;

    const CPUS: usize = 1;

    fn try_enter() -> Option<(usize, Entered)> {
        (!ENTERED.replace(true)).then(|| (0, Entered(())))
    }

    fn quiesce(_cpu: usize) -> bool {
        !ENTERED.get()
    }
}

/// The system's pages in small reservations; each call is a point.
#[derive(Debug)]
struct Points(HostPages);

// SAFETY: the host's pages.
unsafe impl PageProvider for Points {
    fn page_size(&self) -> usize {
        self.0.page_size()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn suggest(&self, needed: usize, _held: usize) -> usize {
        needed.max(1 << 20)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        point();
        self.0.reserve(bytes)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        point();
        // SAFETY: by the contract.
        unsafe { self.0.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        point();
        // SAFETY: by the contract.
        unsafe { self.0.purge(start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        point();
        // SAFETY: by the contract.
        unsafe { self.0.release(reservation) }
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        point();
        // SAFETY: by the contract.
        unsafe { self.0.remap(from, to, bytes) }
    }
}

struct Struck;

impl Config for Struck {
    type Pages = Points;
    type Front = Guarded<OwnCpu, AtLocks, 1>;
    type Env = AtLocks;

    const LIMITS: Limits = Limits { purge_delay_ms: 40, release_delay_ms: 100, ..Limits::BALANCED };
}

/// The script on a heap of its own, with a signal at one point; returns how many there were.
fn run(strikes_at: usize) -> usize {
    let heap = OwnedHeap::<Struck>::new(Points(HostPages::for_heaps()), Guarded::new());
    HEAP.set(&raw const *heap);
    POINTS.set(0);
    STRIKES_AT.set(strikes_at);
    let mut shadow = Shadow::new(&heap);
    let mut random = Random::new(3);
    for layout in LAYOUTS.iter().cycle().take(6) {
        assert!(shadow.alloc(*layout, Fill::Any));
    }
    assert_eq!(play(&mut shadow, &mut random, 60, 25, 100_000), 0);
    // A block that has to move, then purges and releases.
    let large = Layout::from_size_align(1 << 20, 8).expect("a layout");
    assert!(shadow.alloc(large, Fill::Any) && shadow.realloc(shadow.len() - 1, 3 << 20));
    shadow.free_all(5);
    heap.reclaim();
    let points = POINTS.get();
    STRIKES_AT.set(NEVER);
    for (layout, held) in LAYOUTS.into_iter().zip(HELD.take()) {
        if let Some(held) = held {
            // SAFETY: the handler's, which does not run any more.
            unsafe { heap.dealloc(held, layout) };
        }
    }
    shadow.check_counts();
    check_empty(&heap);
    points
}

#[test]
fn a_signal_at_every_lock_and_every_call_of_the_system() {
    install();
    let points = run(NEVER);
    assert!(points > 300, "{points} points");
    for on_top in [false, true] {
        ON_TOP.set(on_top);
        SERVED.set(0);
        for number in 0..points {
            run(number);
        }
        assert!(SERVED.get() > points / 2, "{} of {points} served", SERVED.get());
    }
}
