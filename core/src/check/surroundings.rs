//! An environment, CPUs and a configuration for tests.

use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::Layout;
use std::boxed::Box;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::RngAlgorithm;

use crate::base::class::{CLASSES, Class};
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::Fault;
use crate::base::sync::atomic::AtomicPtr;
use crate::cache::guarded::{Cpu, Guarded};
use crate::cache::sheaf::{SHEAF_ALIGN, Sheaf, Word, words};

use super::arena::Arena;

std::thread_local! {
    static NOW: Cell<u32> = const { Cell::new(0) };
    static CPU: Cell<usize> = const { Cell::new(0) };
    static ENTERED: Cell<bool> = const { Cell::new(false) };
    static LOCKS: Cell<(usize, AtLock)> = const { Cell::new((0, AtLock::Nothing)) };
}

/// Lets time pass.
pub(crate) fn advance(ms: u32) {
    NOW.set(NOW.get().wrapping_add(ms));
}

/// Moves the caller to another CPU.
pub(crate) fn migrate(cpu: usize) {
    CPU.set(cpu);
}

/// What happens where a lock is about to be taken. Attempts have numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtLock {
    Nothing,
    /// Somebody else has this one.
    Taken(usize),
    /// ... or each that is a multiple of a number above 1.
    TakenEach(usize),
    /// The handler runs first, on top of whatever is held.
    Interrupt(usize, fn()),
}

/// Says what happens at locks from now on; counts attempts from 0 again.
/// Returns how many there were.
pub(crate) fn at_locks(what: AtLock) -> usize {
    LOCKS.replace((0, what)).0
}

/// The CPU the caller is on.
pub(crate) fn present_cpu() -> usize {
    CPU.get()
}

/// Does something on top of an entry, as an interrupt would.
pub(crate) fn interrupt<R>(work: impl FnOnce() -> R) -> R {
    let _entered = TestCpu::try_enter();
    work()
}

/// A clock of the thread's own; faults panic.
#[derive(Debug)]
pub(crate) struct TestEnv;

// SAFETY: nothing allocates from the heap under test, or nests. `fatal`
// unwinds, which the tests of faults rely on: no lock is held then.
unsafe impl Environment for TestEnv {
    type Exclusion = ();

    fn exclude() {
        let (number, what) = LOCKS.get();
        LOCKS.set((number + 1, what));
        if let AtLock::Interrupt(at, handler) = what
            && number == at
        {
            handler();
        }
    }

    fn finds_lock_taken() -> bool {
        let (attempts, what) = LOCKS.get();
        match what {
            AtLock::Taken(at) => attempts - 1 == at,
            // The next attempt of who waits finds it open.
            AtLock::TakenEach(step) => (attempts - 1).is_multiple_of(step),
            AtLock::Nothing | AtLock::Interrupt(..) => false,
        }
    }

    fn wait(_spins: u32) {
        std::thread::yield_now();
    }

    fn now_ms() -> u32 {
        NOW.get()
    }

    fn fatal(fault: Fault) -> ! {
        panic!("{}", fault.kind)
    }
}

/// CPUs that one thread is on in turn, each test with its own heap.
#[derive(Debug)]
pub(crate) struct TestCpu;

/// Leaves the CPU when dropped.
#[derive(Debug)]
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(false);
    }
}

// SAFETY: one thread uses a heap, and its flag excludes nested entries.
unsafe impl Cpu for TestCpu {
    type Guard = Entered;

    fn try_enter() -> Option<(usize, Entered)> {
        (!ENTERED.replace(true)).then(|| (CPU.get(), Entered(())))
    }

    fn quiesce(_cpu: usize) -> bool {
        // On top of an entry nobody can wait for it.
        !ENTERED.get()
    }
}

/// A heap over an [`Arena`] with two CPUs.
#[derive(Debug)]
pub(crate) struct TestConfig;

impl Config for TestConfig {
    type Pages = Arena;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

/// What lives for ever: where those who look for leaks find it.
static KEPT: Mutex<Vec<AtomicPtr<u8>>> = Mutex::new(Vec::new());

/// Keeps memory for ever.
pub(crate) fn keep(pointer: NonNull<u8>) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(AtomicPtr::new(pointer.as_ptr()));
}

/// Keeps a value for ever, as a `static` would.
pub(crate) fn for_ever<T: 'static>(value: T) -> &'static mut T {
    let pointer = Box::into_raw(Box::new(value));
    // SAFETY: a box's pointer is not null, and nobody else uses this one: what
    // is kept is only kept.
    unsafe {
        keep(NonNull::new_unchecked(pointer).cast());
        &mut *pointer
    }
}

/// An empty sheaf in memory of its own, which it keeps for ever.
pub(crate) fn sheaf(class: Class, order: u8) -> Sheaf {
    let bytes = words(order) * size_of::<Word>();
    let layout = Layout::from_size_align(bytes, SHEAF_ALIGN).expect("a layout");
    // SAFETY: not empty.
    let block = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
    keep(block);
    // SAFETY: fresh, of that many words, aligned, empty.
    unsafe { Sheaf::format(block.cast(), class, order) }
}

/// Any class of small objects.
pub(crate) fn classes() -> impl Strategy<Value = Class> {
    (1..CLASSES as u8).prop_map(Class::from_index)
}

/// Something to put into a sheaf: an even address that is never accessed.
pub(crate) fn object(number: usize) -> NonNull<u8> {
    NonNull::new(core::ptr::without_provenance_mut(16 * (number + 1))).expect("not 0")
}

/// How many of what takes long: `usual`, but in Miri, which is some hundred
/// times slower than the machine, `in_miri`.
pub(crate) const fn unless_miri(usual: usize, in_miri: usize) -> usize {
    if cfg!(miri) { in_miri } else { usual }
}

/// As many cases as usual, unless `PROPTEST_CASES` says how many; in Miri two.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { config.cases } else { unless_miri(usual as usize, 2) as u32 };
    // The usual generator takes most of the time in Miri.
    let rng_algorithm = if cfg!(miri) { RngAlgorithm::XorShift } else { config.rng_algorithm };
    ProptestConfig { cases, rng_algorithm, failure_persistence: None, ..config }
}
