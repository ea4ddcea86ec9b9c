//! Entries of one CPU and drains by another: who was told that no entry is left
//! finds none, whether by an answer, by a leave, or by a return.

use granule_core::base::sync::modelled::{interrupt_after, interrupt_now, plain};
use granule_core::check::model::{self, Model, migrate, spawn};

use super::*;

static LOCALS: CpuLocals<2> = CpuLocals::new();

/// What entries use, and drains.
static CACHE: u64 = 0;
/// Where entries find it: set while it is stopped.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Whether the drain has ended.
static DRAINED: AtomicBool = AtomicBool::new(false);

/// Interrupts of CPU 0 are delivered by the model.
struct Kernel;

// SAFETY: a thread of the model is a CPU.
unsafe impl KernelCpu for Kernel {
    type Pin = ();

    const CPUS: usize = 2;

    fn pin() {}

    fn local() -> Option<&'static CpuLocal> {
        LOCALS.get(model::cpu())
    }

    fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
        LOCALS.get(cpu)
    }

    fn interrupt(_cpu: usize) -> bool {
        true
    }
}

/// An entry: uses the cache unless it is stopped.
fn entry() {
    let Some((_, _guard)) = PerCpu::<Kernel>::try_enter() else { return };
    // Relaxed: who stops waits for the answer, which orders.
    if !STOPPED.load(Ordering::Relaxed) {
        plain::wrote(&raw const CACHE);
    }
}

/// CPU 0 has nothing to do but to answer, until the drain has ended.
fn idle() {
    while !DRAINED.load(Ordering::Relaxed) {
        LOCALS.0[0].answer();
        spin_loop();
    }
}

/// A drain of CPU 0 by CPU 1.
fn drain(quiesce: impl FnOnce() -> bool) {
    migrate(1);
    STOPPED.store(true, Ordering::Relaxed);
    if quiesce() {
        plain::wrote(&raw const CACHE);
    }
    DRAINED.store(true, Ordering::Relaxed);
}

fn quiesce() -> bool {
    PerCpu::<Kernel>::quiesce(0)
}

/// CPU 0 enters twice and is interrupted after so many accesses; then it
/// idles, where it answers.
fn answered(accesses: usize, quiesce: fn() -> bool) {
    let other = spawn(move || {
        interrupt_after(accesses, || LOCALS.0[0].answer());
        entry();
        entry();
        interrupt_now();
        idle();
    });
    drain(quiesce);
    other.join();
}

#[test]
fn an_answer_comes_from_outside_of_entries() {
    for accesses in [2, 4, 5, 7] {
        Model::new(move || answered(accesses, quiesce))
            .preemptions(2)
            .verify(&["cpu.rs: self.answered & without"]);
    }
}

#[test]
fn a_drain_that_does_not_ask_finds_an_entry() {
    Model::new(|| answered(1, || true)).preemptions(2).fails();
}

/// As `answer`, but inside of entries as well.
fn answer_always(local: &CpuLocal) {
    local.answered.store(local.asked.load(Ordering::Acquire), Ordering::Release);
}

#[test]
fn an_answer_from_inside_of_an_entry_breaks_it() {
    let broken = |accesses| {
        Model::new(move || {
            let other = spawn(move || {
                interrupt_after(accesses, || answer_always(&LOCALS.0[0]));
                entry();
                interrupt_now();
                idle();
            });
            drain(quiesce);
            other.join();
        })
    };
    assert!((1..=4).any(|accesses| broken(accesses).preemptions(2).is_broken()));
}

/// CPU 0 leaves after an entry, and comes back for another.
fn left() {
    let other = spawn(|| {
        entry();
        LOCALS.0[0].leave();
        LOCALS.0[0].enter();
        entry();
        idle();
    });
    drain(quiesce);
    other.join();
}

#[test]
fn a_cpu_that_has_left_is_not_waited_for() {
    Model::new(left)
        .preemptions(2)
        .verify(&["cpu.rs: self.gone & without", "cpu.rs: fence(Ordering::SeqCst)"]);
}
