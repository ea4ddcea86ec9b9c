//! Caches per CPU, by restartable sequences.
//!
//! A *restartable sequence* is a few instructions that end in one store. The
//! thread first notes in memory it shares with the kernel (its *rseq area*)
//! which instructions they are; when it is preempted, migrated or handed a
//! signal among them, the kernel makes it go on at an *abort handler*, here
//! always back to the start. So whatever reaches the store acted on the CPU
//! whose number it read, alone, without an atomic instruction.
//!
//! ```text
//! area (32 bytes a thread)          tops[number]        Tops of a slot
//! ┌─────┬────────┬─────────┬──┬────────┐   ┌─────────┐   ┌─────────┐
//! │     │ cpu_id │ rseq_cs │  │ mm_cid │   │ STOPPED │   │ class 1 ├▶ sheaf
//! └─────┴───┬────┴────┬────┴──┴───┬────┘   │    ●────┼──▶│ class 2 │
//!      4    └ number ─┼───────────┘ 24     │ STOPPED │   │    …    │
//!                     ▼ 8                  └─────────┘   └─────────┘
//!              what is restarted
//! ```
//!
//! CPUs are numbered by `mm_cid`, where the kernel has it (6.3): the numbers
//! of a process are dense, no larger than its threads are many, so a process
//! confined to two CPUs of 256 has two caches. Elsewhere by `cpu_id`. There are
//! sequences for each: to load where the number is, too, was measured to cost
//! 3 to 5 % of a hit.
//!
//! What follows from caches of CPUs, not threads:
//! - **Threads** cost nothing: a thousand share what the CPUs keep. At a
//!   thread's end nothing is to be done.
//! - **Any CPU can be drained** while it runs: `stop` points its entry at
//!   `STOPPED` and has the kernel restart every sequence under way
//!   ([`membarrier`]). Numbers nobody uses any more are drained when the heap
//!   sees that nothing missed there for a while.
//! - **Signals** restart a sequence they interrupt, and may even hit the
//!   cache. They must not miss it: slow paths take locks.
//! - **Hot-plug and affinity** only move threads from number to number.
//! - **fork**: the child's copy of the area is registered as the parent's
//!   was. Every cache is consistent at any instant, its state being one word
//!   a class, and stays in the table; those that no thread of the child comes
//!   by are drained as idle ones. Draining them at once would copy pages for
//!   the sake of children that go on to `exec`.
//! - **vfork** and other children that share memory *and* thread pointer with
//!   their parent are not registered with the kernel: their sequences would
//!   not restart. They must not allocate, as everywhere.
//! - **dlclose**: an area may name a sequence for as long as its thread does
//!   not run. The code must stay mapped: link shared objects `-z nodelete`.
//!
//! - [`area`]: where a thread's area is, and whose;
//! - [`probe`]: whether all of this works here;
//! - [`membarrier`]: restarting what is under way;
//! - `x86_64`, `aarch64`: the sequences.

mod area;
mod membarrier;
mod probe;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

#[cfg(test)]
mod stress_tests;
#[cfg(test)]
mod tests;

use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use granule_core::FrontEnd;
use granule_core::base::class::Class;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::tops::{STOPPED, Tops};
use granule_core::cache::{Current, NoSuchCpu};

use super::env::HostEnv;
use super::fork;
pub(super) use arch::{Dense, Physical, is_open_for};
pub(super) use area::{Numbers, node, own, own_number, set_own_number, thread_ends};
pub(super) use probe::{Rigour, numbers, set_up};

/// Most CPUs served. Where the kernel knows more, threads have the caches.
const CPUS: usize = 4096;

/// Numbers there can be: of CPUs or, in the table that hits look at, threads.
pub(super) const NUMBERS: usize = 4 * CPUS;

/// Entries for threads the kernel does not serve: always `STOPPED`.
const OUTSIDE: usize = 2;

/// The entry of a CPU's number: where its tops are.
type Entry = AtomicPtr<Tops>;

/// The fast paths, each one restartable sequence on the tops of the CPU that
/// executes it.
///
/// # Safety
///
/// Implementor: each does what the method of [`Tops`] of its name does, and
/// nothing when it is cut short; `swap` never writes to `STOPPED`.
///
/// Caller, of each: `area` is the offset of areas, see [`Numbers::areas`];
/// the entries of all numbers lead to `Tops` that live for ever, of which
/// only sequences write those of a CPU that is not stopped.
pub(super) unsafe trait Sequences: 'static {
    /// The numbers they look at.
    const NUMBERS: Numbers;

    /// Pops; null on a miss.
    ///
    /// # Safety
    ///
    /// See the trait.
    unsafe fn pop(area: isize, entries: &[Entry], class: Class) -> *mut u8;

    /// Pushes; `false` on a miss.
    ///
    /// # Safety
    ///
    /// See the trait, and [`Tops::push`]; the pointer is even.
    unsafe fn push(area: isize, entries: &[Entry], class: Class, object: *mut u8) -> bool;

    /// Puts `new` where `expected` is, unless the CPU is stopped.
    ///
    /// # Safety
    ///
    /// See the trait, and [`Tops::swap`].
    unsafe fn swap(area: isize, entries: &[Entry], class: Class, expected: Top, new: Top) -> bool;
}

fn stopped() -> *mut Tops {
    (&raw const STOPPED).cast_mut()
}

/// The entry of a slot, which begins with its tops; with leave to reach all of it.
fn tops_of(slot: &Slot<HostEnv>) -> *mut Tops {
    core::ptr::from_ref(slot).cast_mut().cast()
}

/// A front end of caches per CPU. `S` are its fast paths: tests put broken
/// ones there. In this order most processes write to two places: the first entries,
/// and the last with the first slots.
#[repr(C)]
pub(super) struct CpuSlots<S> {
    /// What fast paths use: `STOPPED` where there is no cache.
    tops: [Entry; NUMBERS + OUTSIDE],
    /// What slow paths use: null where there is no cache.
    slots: [AtomicPtr<Slot<HostEnv>>; CPUS],
    sequences: PhantomData<fn() -> S>,
}

impl<S: Sequences> CpuSlots<S> {
    /// Caches to be, all zero: tables of 160 KiB that cost nothing until it
    /// is used.
    ///
    /// # Safety
    ///
    /// Caller: has [`set_up`] open it, or a test that has learnt of the choice
    /// of the process fill it, before any other use.
    pub(super) const unsafe fn new() -> Self {
        Self {
            tops: [const { Entry::new(null_mut()) }; NUMBERS + OUTSIDE],
            slots: [const { AtomicPtr::new(null_mut()) }; CPUS],
            sequences: PhantomData,
        }
    }

    /// Gives every number its entry, once, before anybody uses the table:
    /// `tops`, which are `STOPPED` or a self-test's.
    fn fill(&self, limit: usize, tops: *mut Tops) {
        self.prepare();
        for entry in &self.tops[..limit] {
            // Relaxed: whoever uses the table learns of it by `Numbers::areas`.
            entry.store(tops, Ordering::Relaxed);
        }
    }

    /// Makes those miss who have no number.
    pub(super) fn prepare(&self) {
        for entry in &self.tops[NUMBERS..] {
            // Relaxed: whoever uses the table learns of it by an offset of areas.
            entry.store(stopped(), Ordering::Relaxed);
        }
    }

    /// Leads who has `number`, not a CPU's, to these tops.
    pub(super) fn lead(&self, number: usize, tops: &'static Tops) {
        // Relaxed: the caller's own number.
        self.tops[number].store(core::ptr::from_ref(tops).cast_mut(), Ordering::Relaxed);
    }

    /// The slots of numbers there can be.
    fn slots(&self) -> &[AtomicPtr<Slot<HostEnv>>] {
        &self.slots[..area::limit()]
    }

    fn index_of(&self, slot: &Slot<HostEnv>) -> Option<usize> {
        let slot = core::ptr::from_ref(slot);
        self.slots().iter().position(|entry| core::ptr::eq(entry.load(Ordering::Acquire), slot))
    }

    /// `area` is the chosen one, or ours: the table is open.
    #[inline(always)]
    pub(super) fn pop_at(&self, area: isize, class: Class) -> *mut u8 {
        // SAFETY: each number there can be in such an area has its entry.
        unsafe { S::pop(area, &self.tops, class) }
    }

    /// As [`pop_at`](Self::pop_at).
    ///
    /// # Safety
    ///
    /// Caller: as for [`FrontEnd::push`], of an even pointer.
    #[inline(always)]
    pub(super) unsafe fn push_at(&self, area: isize, class: Class, object: *mut u8) -> bool {
        // SAFETY: as above; the rest by the contract.
        unsafe { S::push(area, &self.tops, class, object) }
    }
}

// SAFETY: the sequences act on the tops of the CPU they run on, each as a
// whole or not at all. A stopped CPU's entry is `STOPPED`, and once
// `membarrier` has returned no sequence that saw anything else is left.
unsafe impl<S: Sequences> FrontEnd<HostEnv> for CpuSlots<S> {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        match S::NUMBERS.areas() {
            0 => null_mut(),
            area => self.pop_at(area, class),
        }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match S::NUMBERS.areas() {
            0 => false,
            // It is no object's, and would read as a mark.
            _ if object.addr() & 1 != 0 => false,
            // SAFETY: by the contract.
            area => unsafe { self.push_at(area, class, object) },
        }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        match S::NUMBERS.areas() {
            0 => false,
            // SAFETY: the area is the chosen one, so the table is open; the
            // rest by the contract.
            area => unsafe { S::swap(area, &self.tops, class, expected, new) },
        }
    }

    fn current(&self) -> Current<'_, HostEnv> {
        let Some(number) = area::number() else { return Current::Stopped };
        // Acquire: pairs with the Release in `attach` and `restart`.
        let tops = self.tops[number].load(Ordering::Acquire);
        if tops != stopped() {
            // By the entry that hits look at: that of `slots` is on a page of its own.
            // SAFETY: where CPUs have numbers their entries are `tops_of` slots, which
            // live for ever.
            return Current::Slot(unsafe { &*tops.cast::<Slot<HostEnv>>() });
        }
        // Relaxed: nothing is read through it.
        match self.slots[number].load(Ordering::Relaxed).is_null() {
            true => Current::Absent,
            false => Current::Stopped,
        }
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        fork::prepare_once();
        let Some(number) = area::number() else { return false };
        let pointer = core::ptr::from_ref(slot).cast_mut();
        // Release: publishes the slot; pairs with the Acquire in `current`.
        let attached = self.slots[number]
            .compare_exchange(null_mut(), pointer, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if attached {
            // The thread may have moved: the entry is the number's all the
            // same. Release: pairs with the sequences' loads of the entry and
            // of tops through it, which depend on each other.
            self.tops[number].store(tops_of(slot), Ordering::Release);
        }
        attached
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<HostEnv>>, NoSuchCpu> {
        let slot = self.slots().get(cpu).ok_or(NoSuchCpu)?;
        // Acquire: pairs with the Release in `attach`.
        // SAFETY: slots live for ever.
        Ok(unsafe { slot.load(Ordering::Acquire).as_ref() })
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        let Some(number) = self.index_of(slot) else { return false };
        // Acquire and Release: two drains exclude each other; pairs with
        // `restart`.
        let won = self.tops[number]
            .compare_exchange(tops_of(slot), stopped(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if won && !membarrier::restart_sequences() {
            self.restart(slot);
            return false;
        }
        won
    }

    fn restart(&self, slot: &Slot<HostEnv>) {
        if let Some(number) = self.index_of(slot) {
            // Release: what the drain did is seen by whoever sees the entry;
            // pairs with the sequences' dependent loads, and with `stop`.
            self.tops[number].store(tops_of(slot), Ordering::Release);
        }
    }
}
