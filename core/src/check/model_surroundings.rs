//! An environment, CPUs and a configuration for models.

use core::ptr::NonNull;
use std::boxed::Box;

use loom::thread::yield_now;

use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::Fault;
use crate::base::sync::atomic::{AtomicBool, Ordering};
use crate::base::sync::modelled::Masked;
use crate::base::sync::plain;
use crate::cache::guarded::{Cpu, Guarded};
use crate::cache::sheaf::{Sheaf, Top};
use crate::check::arena::Arena;
use crate::check::model::cpu;
use crate::heap::Heap;
use crate::provider::Capabilities;

/// Masks the model's interrupt; other threads run while one waits.
pub(crate) struct ModelEnv;

// SAFETY: an interrupt is kept out until `Masked` is dropped; nothing
// allocates; `fatal` ends the execution.
unsafe impl Environment for ModelEnv {
    type Exclusion = Masked;

    fn exclude() -> Masked {
        Masked::new()
    }

    fn wait(_spins: u32) {
        yield_now();
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        panic!("{}", fault.kind)
    }
}

/// A process of one thread, whose handlers are kept out of nothing.
pub(crate) struct OneThread;

// SAFETY: a model's thread and its interrupt, which only makes calls that may not
// wait.
unsafe impl Environment for OneThread {
    type Exclusion = ();

    fn shared() -> bool {
        false
    }

    fn exclude() {}

    fn wait(spins: u32) {
        ModelEnv::wait(spins);
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        ModelEnv::fatal(fault)
    }
}

/// How a CPU keeps its promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    All,
    /// Lets a second entry in on top of, or beside, another.
    NotAlone,
    /// Does not wait for entries.
    NoQuiesce,
    /// Cannot wait for entries, and says so.
    CannotQuiesce,
}

/// Two CPUs, each with a flag.
pub(crate) struct ModelCpu<const KEEPS: u8>;

/// As numbers, for types.
pub(crate) const ALL: u8 = Keeps::All as u8;
pub(crate) const NOT_ALONE: u8 = Keeps::NotAlone as u8;
pub(crate) const NO_QUIESCE: u8 = Keeps::NoQuiesce as u8;
pub(crate) const CANNOT_QUIESCE: u8 = Keeps::CannotQuiesce as u8;

static BUSY: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// An entry.
pub(crate) struct Entered(usize);

impl Drop for Entered {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_enter` and `quiesce`.
        BUSY[self.0].store(false, Ordering::Release);
    }
}

fn enter(cpu: usize) -> bool {
    // Acquire: pairs with the Release in `drop`.
    let entered = BUSY[cpu].compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
    entered.is_ok()
}

// SAFETY: one entry at a time has the CPU's flag, unless the CPU is one that
// breaks its promises, for models that must fail.
unsafe impl<const KEEPS: u8> Cpu for ModelCpu<KEEPS> {
    type Guard = Entered;

    fn try_enter() -> Option<(usize, Entered)> {
        let cpu = cpu();
        (enter(cpu) || KEEPS == NOT_ALONE).then(|| (cpu, Entered(cpu)))
    }

    fn quiesce(cpu: usize) -> bool {
        match KEEPS {
            NO_QUIESCE => true,
            CANNOT_QUIESCE => false,
            _ => {
                while !enter(cpu) {
                    yield_now();
                }
                drop(Entered(cpu));
                true
            }
        }
    }
}

/// A heap of two CPUs over an arena.
pub(crate) struct ModelConfig<const KEEPS: u8>;

impl<const KEEPS: u8> Config for ModelConfig<KEEPS> {
    type Pages = Arena;
    type Front = Guarded<ModelCpu<KEEPS>, ModelEnv, 2>;
    type Env = ModelEnv;
}

/// The machine page: so large that where runs lie does not depend on where the
/// arena does, and an execution can be repeated.
pub(crate) const PAGE: usize = 256 << 10;

/// A heap that lives until it is dropped, which nothing of it may outlive.
pub(crate) fn heap<const KEEPS: u8>(can: Capabilities) -> Owned<Heap<ModelConfig<KEEPS>>> {
    Owned::new(Heap::new(Arena::new(PAGE, can, 16 << 20), Guarded::new()))
}

/// A value that is lent for ever, and lives as long as an execution.
pub(crate) struct Owned<T: 'static>(NonNull<T>);

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Until the execution ends.
    pub(crate) fn lend(&self) -> &'static T {
        // SAFETY: models join their threads before they drop what they own.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // One that failed may have threads that are not joined.
        if !std::thread::panicking() {
            // SAFETY: made of a box in `new`; nobody uses it any more.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

/// Objects that note who uses them.
#[repr(C, align(16))]
pub(crate) struct Objects<const N: usize>([[u64; 2]; N]);

impl<const N: usize> Objects<N> {
    pub(crate) fn new() -> Owned<Self> {
        Owned::new(Self([[0; 2]; N]))
    }

    pub(crate) fn object(&self, number: usize) -> NonNull<u8> {
        NonNull::from(&self.0[number]).cast()
    }

    /// The number of an object, which the caller uses.
    pub(crate) fn number(&self, object: *mut u8) -> usize {
        use_object(object);
        let own = (0..N).find(|number| self.object(*number).as_ptr() == object);
        own.expect("one of ours")
    }
}

/// The caller writes to an object that is its own.
pub(crate) fn use_object(object: *mut u8) {
    plain::wrote(object.cast::<u64>());
}

/// Memory for one small sheaf.
#[repr(C, align(64))]
pub(crate) struct SheafBlock([usize; 8]);

impl SheafBlock {
    pub(crate) fn new() -> Owned<Self> {
        Owned::new(Self([0; 8]))
    }

    /// An empty sheaf there, which is the caller's.
    pub(crate) fn format(&'static self, class: Class) -> Sheaf {
        // SAFETY: the smallest order, aligned, and nobody else's.
        unsafe { Sheaf::format(NonNull::from(self).cast(), class, 0) }
    }
}

/// The objects in the sheaf of a top that is the caller's, by number.
pub(crate) fn numbers<const N: usize>(top: Top, objects: &Objects<N>) -> std::vec::Vec<usize> {
    if top.is_sentinel() {
        return std::vec::Vec::new();
    }
    // SAFETY: the caller took it out.
    let mut sheaf = unsafe { Sheaf::from_top(top) };
    std::iter::from_fn(|| sheaf.pop()).map(|object| objects.number(object.as_ptr())).collect()
}
