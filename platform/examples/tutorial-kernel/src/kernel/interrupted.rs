//! The case that tutorials warn of: a handler that allocates, in the middle of
//! an allocation. A heap behind a lock deadlocks there.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use granule::base::sync::Lock;
use granule::cache::guarded::Cpu;
use granule::kernel::cpu::PerCpu;
use x86_64::instructions::interrupts;

use super::cases::{Verdict, ensure};
use super::heap::{GLOBAL, KernelEnv, OnlyCpu};

/// Ticks on which the handler allocates, at least.
const BUSY_TICKS: usize = 200;

/// What the handler holds; emptied before the kernel ends.
static HELD: Lock<[Option<Box<[u8]>>; 16], KernelEnv> = Lock::new([const { None }; 16]);

// Relaxed, all of these: one CPU.
static ALLOCATES: AtomicBool = AtomicBool::new(false);
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static ON_TOP: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

/// A block whose size and contents tell its number.
fn block(number: usize) -> Box<[u8]> {
    vec![number as u8; 1 + number * 37 % 3000].into_boxed_slice()
}

fn is_block(block: &[u8], number: usize) -> bool {
    block.iter().all(|byte| *byte == number as u8)
}

/// Takes runs of pages, which no cache has, and gives them back: both under
/// the heap's locks.
fn take_runs(number: usize) {
    let runs = [64, 128, 192, 256].map(|kib| Vec::<u8>::with_capacity((kib + number % 64) << 10));
    core::hint::black_box(&runs);
}

/// Called by the timer's handler: allocates a block, frees an older one.
pub(crate) fn on_tick() {
    if !ALLOCATES.load(Relaxed) {
        return;
    }
    if PerCpu::<OnlyCpu>::try_enter().is_none() {
        ON_TOP.fetch_add(1, Relaxed);
    }
    let number = HANDLED.fetch_add(1, Relaxed);
    take_runs(number);
    let old = HELD.lock()[number % 16].replace(block(number));
    if old.is_some_and(|old| !is_block(&old, number - 16)) {
        WRONG.fetch_add(1, Relaxed);
    }
}

/// The main program allocates the same sizes as the timer's interrupt, which
/// comes at any instruction of it: until one came in the middle of an entry.
pub(crate) fn interrupt_handler_allocates() -> Verdict {
    interrupts::enable();
    ALLOCATES.store(true, Relaxed);
    let mut boxes: [Option<Box<[u8]>>; 32] = [const { None }; 32];
    for number in 0_usize.. {
        let old = boxes[number % 32].replace(block(number));
        let intact = old.is_none_or(|old| is_block(&old, number - 32));
        ensure(intact, "blocks keep their contents under interrupts")?;
        take_runs(number);
        ensure(number < 1 << 30, "the timer ticks")?;
        let handled = HANDLED.load(Relaxed);
        ensure(handled < 30_000, "an interrupt comes on top of an entry")?;
        if handled >= BUSY_TICKS && ON_TOP.load(Relaxed) > 0 {
            break;
        }
    }
    ALLOCATES.store(false, Relaxed);
    HELD.lock().fill(None);
    drop(boxes);
    ensure(WRONG.load(Relaxed) == 0, "the handler's blocks keep their contents")?;
    GLOBAL.heap().reclaim();
    ensure(GLOBAL.heap().stats().live_bytes() == 0, "nothing is left")
}
