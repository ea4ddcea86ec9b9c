//! The front end of the process's heap: caches per CPU where the kernel has
//! what they need, per thread elsewhere.
//!
//! The choice is made once, at the first miss of the process, and stays. It
//! costs a fast path one load that it needs anyway, of where the areas of
//! [`rseq`](super::rseq) are, and a branch that always goes the same way: no
//! area means "threads", and threads have no caches until they were chosen.
//! So whoever has not heard of the choice yet misses, asks, and hears.
//!
//! ```text
//! Open ─ first miss ─▶ Preparing ┬▶ Cpus       (table filled, then published)
//!   └────────────────────────────┴▶ Threads
//! ```
//!
//! `GRANULE_FRONTEND=thread` asks for threads; `rseq` for CPUs, also on
//! kernels that are known to be broken, as far as they can be had at all.
//! Before the C library has set the environment up the choice stays open, and
//! blocks come from the slabs one by one.

use core::sync::atomic::{AtomicU8, Ordering};

use granule_core::FrontEnd;
use granule_core::base::class::Class;
use granule_core::cache::sheaf::Top;
use granule_core::cache::slot::Slot;
use granule_core::cache::{Current, NoSuchCpu};

use super::env::HostEnv;
use super::rseq::{self, CpuSlots, Rigour};
use super::settings;
use super::threads::ThreadSlots;

/// Who has the caches of the process's heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caches {
    /// Not chosen yet: nothing has been allocated, or by nobody who has
    /// finished choosing.
    Open,
    /// Each CPU has one, reached by restartable sequences.
    Cpus,
    /// Each thread has one.
    Threads,
}

impl core::fmt::Display for Caches {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Open => "no caches yet",
            Self::Cpus => "caches of CPUs",
            Self::Threads => "caches of threads",
        })
    }
}

/// What the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any,
    Cpus,
    Threads,
}

const OPEN: u8 = 0;
const PREPARING: u8 = 1;
const CPUS: u8 = 2;
const THREADS: u8 = 3;

static CHOICE: AtomicU8 = AtomicU8::new(OPEN);

// SAFETY: `choose` opens it, and nobody uses it before that: the offset of
// areas is 0, and the choice not `CPUS`.
static CPU_SLOTS: CpuSlots = unsafe { CpuSlots::new() };
static THREAD_SLOTS: ThreadSlots = ThreadSlots::new();

/// Who has the caches of the process's heap.
#[must_use]
pub fn caches() -> Caches {
    // Acquire: pairs with the Release in `choose`.
    match CHOICE.load(Ordering::Acquire) {
        CPUS => Caches::Cpus,
        THREADS => Caches::Threads,
        _ => Caches::Open,
    }
}

/// The same, choosing first if it has to be.
#[inline]
fn chosen() -> Caches {
    match caches() {
        Caches::Open => choose(),
        caches => caches,
    }
}

#[cold]
fn choose() -> Caches {
    let Some(wish) = wish() else { return Caches::Open };
    // Relaxed: what is handed over is so by the store below.
    let ours =
        CHOICE.compare_exchange(OPEN, PREPARING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if ours {
        let rigour = if wish == Wish::Cpus { Rigour::Insistent } else { Rigour::Careful };
        let cpus = wish != Wish::Threads && rseq::set_up(&CPU_SLOTS, rigour).is_ok();
        // Release: pairs with the Acquire in `caches`.
        CHOICE.store(if cpus { CPUS } else { THREADS }, Ordering::Release);
    }
    caches()
}

/// In the child of a fork: ends a choice that another thread was about to
/// make, as published or as open again.
pub(super) fn settle() {
    let settled = if rseq::chosen() == 0 { OPEN } else { CPUS };
    // Relaxed: there is no other thread.
    let _ = CHOICE.compare_exchange(PREPARING, settled, Ordering::Relaxed, Ordering::Relaxed);
}

/// What the environment says; `None` before there is one.
fn wish() -> Option<Wish> {
    Some(match settings::variable(b"GRANULE_FRONTEND").ok()? {
        Some(b"rseq") => Wish::Cpus,
        Some(b"thread") => Wish::Threads,
        _ => Wish::Any,
    })
}

/// Makes the compiler lay the branch to it out of the way: straight code was
/// measured to be 1 % faster for CPUs, and no slower for threads.
#[cold]
#[inline(always)]
fn seldom() {}

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

// SAFETY: forwards to one of two that keep the contract, always the same:
// those who come before the choice miss.
unsafe impl FrontEnd<HostEnv> for HostSlots {
    #[inline(always)]
    fn pop(&self, class: Class) -> *mut u8 {
        match rseq::chosen() {
            0 => {
                seldom();
                THREAD_SLOTS.pop(class)
            }
            area => CPU_SLOTS.pop_at(area, class),
        }
    }

    #[inline(always)]
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        match rseq::chosen() {
            0 => {
                seldom();
                // SAFETY: by the contract.
                unsafe { THREAD_SLOTS.push(class, object) }
            }
            // SAFETY: by the contract.
            area => unsafe { CPU_SLOTS.push_at(area, class, object) },
        }
    }

    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        match rseq::chosen() {
            // SAFETY: by the contract.
            0 => unsafe { THREAD_SLOTS.swap(class, expected, new) },
            // SAFETY: by the contract.
            _ => unsafe { CPU_SLOTS.swap(class, expected, new) },
        }
    }

    fn current(&self) -> Current<'_, HostEnv> {
        match chosen() {
            Caches::Cpus => CPU_SLOTS.current(),
            Caches::Threads => THREAD_SLOTS.current(),
            Caches::Open => Current::Stopped,
        }
    }

    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        match chosen() {
            Caches::Cpus => CPU_SLOTS.attach(slot),
            Caches::Threads => THREAD_SLOTS.attach(slot),
            Caches::Open => false,
        }
    }

    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<HostEnv>>, NoSuchCpu> {
        match chosen() {
            Caches::Cpus => CPU_SLOTS.slot_of(cpu),
            _ => Err(NoSuchCpu),
        }
    }

    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        match chosen() {
            Caches::Cpus => CPU_SLOTS.stop(slot),
            Caches::Threads => THREAD_SLOTS.stop(slot),
            Caches::Open => false,
        }
    }

    fn restart(&self, slot: &Slot<HostEnv>) {
        if chosen() == Caches::Cpus {
            CPU_SLOTS.restart(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_made_once_and_stays() {
        let heap = crate::process_heap();
        let choices = std::thread::scope(|scope| {
            let threads = [0; 8].map(|_| {
                scope.spawn(|| {
                    let block = heap.alloc(core::alloc::Layout::new::<[u64; 4]>());
                    // SAFETY: live, if there is memory.
                    unsafe { heap.free(core::ptr::NonNull::new(block).expect("memory")) };
                    chosen()
                })
            });
            threads.map(|thread| thread.join().expect("no panic"))
        });
        let last = caches();
        assert_ne!(last, Caches::Open);
        let early = choices.iter().filter(|choice| **choice != last);
        // Whoever came while another one chose worked without a cache.
        assert!(early.clone().all(|choice| *choice == Caches::Open), "{choices:?}");
        settle();
        assert_eq!(caches(), last);
    }
}
