//! A core that goes and comes back, while the others work.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use granule::core_api::heap::DrainError;

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::clock::Deadline;
use crate::kernel::crew;
use crate::kernel::heap::{CPUS, GLOBAL, KernelConfig, LOCALS};
use crate::kernel::load::{Exchange, Of, Outcomes, Worker};
use crate::kernel::text::{Text, say};

/// How often every core goes.
const TURNS: usize = 4;

static EXCHANGE: Exchange = Exchange::new();
static OUTCOMES: Outcomes = Outcomes::new();
/// The core that is to go; `CPUS`: none.
static GOING: AtomicUsize = AtomicUsize::new(CPUS);
static GONE: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);
static DRAINED: AtomicUsize = AtomicUsize::new(0);
static TRIED: AtomicUsize = AtomicUsize::new(0);

fn work(core: usize) {
    let done = if core == 0 { conduct() } else { be_worked(core) };
    if done.is_err() {
        OVER.store(true, Ordering::Release);
    }
    OUTCOMES.put(core, done);
}

fn be_worked(core: usize) -> Result<(), Text> {
    let heap = Of::<KernelConfig>(GLOBAL.heap());
    let mut worker = Worker::new(&heap, Some(&EXCHANGE), core);
    while !OVER.load(Ordering::Acquire) {
        for _ in 0..50 {
            if !worker.step()? {
                return Err(Text::of(format_args!("core {core}: out of memory")));
            }
        }
        if GOING.load(Ordering::Acquire) == core {
            be_gone(core);
        }
    }
    worker.finish()
}

/// Leaves as an unplugged core does: with interrupts masked and blocks in
/// hand; comes back when it is called for.
fn be_gone(core: usize) {
    let Some(local) = LOCALS.get(core) else { return };
    let _masked = machine::cpu::mask();
    local.leave();
    GONE.store(true, Ordering::Release);
    while GOING.load(Ordering::Acquire) == core && !OVER.load(Ordering::Acquire) {
        machine::cpu::relax();
    }
    GONE.store(false, Ordering::Release);
    local.enter();
}

fn conduct() -> Result<(), Text> {
    let heap = GLOBAL.heap();
    let others = || 1..crew::count();
    let deadline = Deadline::after_ms(20_000);
    // A core that the emulator does not run does not answer in time.
    let none = || DRAINED.load(Ordering::Relaxed) == 0 && !deadline.is_past();
    let mut turns = 0;
    while turns < TURNS || none() {
        turns += 1;
        for core in others() {
            unplug(core)?;
            // Those that run are drained, too, if they answer.
            for core in others() {
                TRIED.fetch_add(1, Ordering::Relaxed);
                match heap.drain_cpu(core) {
                    Ok(()) => _ = DRAINED.fetch_add(1, Ordering::Relaxed),
                    Err(DrainError::Busy) => {}
                    Err(error) => return Err(Text::of(format_args!("core {core}: {error}"))),
                }
            }
        }
    }
    OVER.store(true, Ordering::Release);
    Ok(())
}

fn unplug(core: usize) -> Result<(), Text> {
    let heap = GLOBAL.heap();
    GOING.store(core, Ordering::Release);
    let deadline = Deadline::after_ms(5_000);
    while !GONE.load(Ordering::Acquire) {
        ensure!(!deadline.is_past(), "core {core} does not go");
        ensure!(!OVER.load(Ordering::Acquire), "a core failed");
        machine::cpu::relax();
    }
    let done = heap.drain_cpu(core);
    ensure!(done == Ok(()), "core {core} has left, and yet: {done:?}");
    let left = heap.cpu_stats(core).unwrap_or_default();
    ensure!(left.cached_bytes == 0, "core {core} keeps {} bytes", left.cached_bytes);
    ensure!(left.parked_bytes == 0, "core {core} keeps a run");
    // Some more work of the others without it.
    let pause = Deadline::after_ms(5);
    while !pause.is_past() {
        machine::cpu::relax();
    }
    let left = heap.cpu_stats(core).unwrap_or_default();
    ensure!(left.cached_bytes == 0, "core {core} is gone, and caches");
    GOING.store(CPUS, Ordering::Release);
    while GONE.load(Ordering::Acquire) {
        ensure!(!deadline.is_past(), "core {core} does not come back");
        machine::cpu::relax();
    }
    Ok(())
}

pub(crate) fn a_core_under_load() -> Outcome {
    if crew::count() < 2 {
        return Ok(Done::Skipped("there is no other core"));
    }
    let heap = GLOBAL.heap();
    heap.reclaim();
    let live = heap.stats().live_bytes();
    OVER.store(false, Ordering::Release);
    crew::run(crew::count(), work);
    OUTCOMES.all()?;
    Worker::new(&Of::<KernelConfig>(heap), Some(&EXCHANGE), 0).finish()?;
    heap.reclaim();
    let now = heap.stats().live_bytes();
    ensure!(now == live, "{live} bytes live before, {now} after");
    let (drained, tried) = (DRAINED.load(Ordering::Relaxed), TRIED.load(Ordering::Relaxed));
    ensure!(drained > 0, "no running core was drained in {tried} tries");
    say!("  every core went and came back; {drained} of {tried} drains of cores that ran");
    Ok(Done::Ok)
}
