//! The front end of the process's heap, as hits see it.
//!
//! Hits do not ask who has the caches. There is one sequence for all of them,
//! on the calling thread's area and one table; what differs is whose area it
//! is and which number stands there:
//!
//! | caches | area | number | what it leads to |
//! |---|---|---|---|
//! | not chosen yet | ours | none | `STOPPED`: a miss |
//! | of CPUs | the C library's or ours | the kernel's, `mm_cid` | the CPU's tops |
//! | of threads | ours, unknown to the kernel | the thread's | the thread's tops |
//! | of CPUs, by `cpu_id` | ours | none | `STOPPED`; `pop`, `push_again` know better |
//! | any, in a checked tier | ours | none | `STOPPED`; `pop`, `push` know better |
//!
//! A thread's tops are its own, so there the sequence need not be restarted.
//!
//! The area is an offset from the thread pointer, and 0 before the heap's
//! first memory, when a store would hit the thread's header. No hit tests for
//! it: whoever frees a block got it after that, and whoever allocates compares
//! its size with a bound that is 0 until there are caches. That is two
//! instructions less than to test.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use granule_core::FrontEnd;
use granule_core::base::class::{Class, TABLED};
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::tops::Tops;
use granule_core::cache::{Current, NoSuchCpu};
use granule_core::provider::Node;

use super::choice::{chosen, current_chosen, pop_chosen, push_chosen, swap_chosen};
use super::env::HostEnv;
use super::numa;
use super::rseq::{self, CpuSlots, Dense, NUMBERS, Numbers, Physical};
use super::threads::LinuxThread;
use crate::user::indices::Indices;
use crate::user::threads::ThreadSlots;

/// The table that hits look at: for CPUs with dense numbers, or for threads.
// SAFETY: `choose` opens it for CPUs; until then, and for threads, nobody has a
// number but by `enter_thread`.
pub(super) static TABLE: CpuSlots<Dense> = unsafe { CpuSlots::new() };
// SAFETY: `choose` opens it, and nobody uses it before.
pub(super) static PHYSICAL_SLOTS: CpuSlots<Physical> = unsafe { CpuSlots::new() };

/// The areas that hits look at.
static AREAS: AtomicIsize = AtomicIsize::new(0);
/// Sizes below this may be hits.
pub(super) static OPEN_BELOW: AtomicUsize = AtomicUsize::new(0);

/// Which numbers threads have.
static THREADS: Indices<{ NUMBERS / usize::BITS as usize }> = Indices::new();

/// Makes hits possible, with caches of CPUs or of threads, once chosen.
pub(super) fn open() {
    prepare();
    let dense = Numbers::Dense.areas();
    if dense != 0 {
        // Relaxed: to use the areas there were is a miss.
        AREAS.store(dense, Ordering::Relaxed);
    }
    // Release: whoever sees the bound sees areas; pairs with the Acquire in
    // `is_open_for`.
    OPEN_BELOW.store(TABLED, Ordering::Release);
}

/// Whether hits are to miss for ever, because every call is checked.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Lets hits miss from now on, before there has been one.
pub(super) fn close() {
    CLOSED.store(true, Ordering::Relaxed);
}

fn is_closed() -> bool {
    // Relaxed: stored before there are caches, by who chose them.
    CLOSED.load(Ordering::Relaxed)
}

#[inline]
fn prepare() {
    if AREAS.load(Ordering::Relaxed) == 0 {
        prepare_now();
    }
}

#[cold]
fn prepare_now() {
    TABLE.prepare();
    // Release: the table before the areas; pairs with the hits' loads, which
    // depend on each other. Somebody else's areas are as good.
    let _ = AREAS.compare_exchange(0, rseq::own(), Ordering::Release, Ordering::Relaxed);
}

/// Leads the calling thread's hits to its cache, unless hits are closed; `false`
/// when there are too many threads.
pub(super) fn enter_thread(tops: &'static Tops) -> bool {
    if is_closed() {
        return true;
    }
    let number = THREADS.take();
    if let Some(number) = number {
        TABLE.lead(number, tops);
    }
    rseq::set_own_number(number);
    number.is_some()
}

/// The calling thread's hits miss from now on.
pub(super) fn leave_thread() {
    let number = rseq::own_number();
    rseq::set_own_number(None);
    if let Some(number) = number {
        THREADS.give_back(number);
    }
}

/// In the child of a fork, where threads have the caches: takes the numbers of
/// all threads back but the caller's.
pub(super) fn keep_own_number_only() {
    THREADS.keep_only(rseq::own_number());
}

/// The front end of the process's heap.
#[derive(Debug, Default)]
pub struct HostSlots(());

impl HostSlots {
    /// For the process's heap alone.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

// SAFETY: acts on one of three that keep the contract, always the same: those
// who come before the choice miss. The first hits look at the table alone, which
// is that of CPUs, or leads a thread to its own tops, or everybody to `STOPPED`.
unsafe impl FrontEnd<HostEnv> for HostSlots {
    #[inline(always)]
    fn is_open_for(&self, size: usize) -> bool {
        rseq::is_open_for(size)
    }

    #[inline]
    fn prepare(&self) {
        prepare();
    }

    #[inline(always)]
    unsafe fn pop_first(&self, class: Class) -> *mut u8 {
        // Relaxed: not 0, by the contract.
        TABLE.pop_at(AREAS.load(Ordering::Relaxed), class)
    }

    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        // Relaxed: not 0, by the contract: who has a block got it, by the
        // program's own synchronisation, after `prepare`.
        // SAFETY: by the contract.
        unsafe { TABLE.push_at(AREAS.load(Ordering::Relaxed), class, object) }
    }

    #[inline(always)]
    unsafe fn push_again(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract.
        unsafe { PHYSICAL_SLOTS.push(class, object) }
    }

    #[inline]
    fn pop(&self, class: Class) -> *mut u8 {
        if is_closed() {
            return pop_chosen(class);
        }
        match (Numbers::Physical.areas(), AREAS.load(Ordering::Relaxed)) {
            (0, 0) => null_mut(),
            (0, areas) => TABLE.pop_at(areas, class),
            (areas, _) => PHYSICAL_SLOTS.pop_at(areas, class),
        }
    }

    #[inline]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        if is_closed() {
            // SAFETY: by the contract.
            return object.addr() & 1 == 0 && unsafe { push_chosen(class, object) };
        }
        if AREAS.load(Ordering::Relaxed) == 0 || object.addr() & 1 != 0 {
            return false;
        }
        // SAFETY: by the contract, and as just tested.
        unsafe { self.push_again(class, object) || self.push_first(class, object) }
    }

    #[inline(always)]
    fn pop_checked(&self, class: Class) -> *mut u8 {
        // Threads that have caches tell who has them: no look at the choice.
        if let Some(tops) = ThreadSlots::<LinuxThread>::own() {
            // SAFETY: the thread's own, or `STOPPED`, where all miss.
            return unsafe { tops.pop(class) };
        }
        match Numbers::Dense.areas() {
            0 => PHYSICAL_SLOTS.pop(class),
            areas => TABLE.pop_at(areas, class),
        }
    }

    #[inline(always)]
    unsafe fn push_checked(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract; tops as in `pop_checked`.
        unsafe {
            if let Some(tops) = ThreadSlots::<LinuxThread>::own() {
                return tops.push_even(class, object);
            }
            match Numbers::Dense.areas() {
                0 => PHYSICAL_SLOTS.push(class, object),
                areas => TABLE.push_at(areas, class, object),
            }
        }
    }

    #[inline]
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: by the contract.
        unsafe { swap_chosen(class, expected, new) }
    }

    #[inline]
    fn current(&self) -> Current<'_, HostEnv> {
        current_chosen()
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        chosen().is_some_and(|front| front.attach(slot))
    }

    fn node(&self) -> Node {
        numa::here()
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<HostEnv>>, NoSuchCpu> {
        chosen().map_or(Err(NoSuchCpu), |front| front.slot_of(cpu))
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        chosen().is_some_and(|front| front.stop(slot))
    }

    fn restart(&self, slot: &Slot<HostEnv>) {
        if let Some(front) = chosen() {
            front.restart(slot);
        }
    }
}
