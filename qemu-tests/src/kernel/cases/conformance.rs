//! The core's suites, on this machine's providers and front ends.

use alloc::boxed::Box;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use granule::core_api::check::conformance::{self, Bench};
use granule::kernel::frames::{FramePages, Frames};

use super::owned::{CaseFrames, give_back, piece, range_of, set_up};
use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::crew;
use crate::kernel::heap::{CPUS, FRAMES, Front, KernelEnv};
use crate::kernel::load::Outcomes;
use crate::kernel::text::{Text, say};

/// Bytes of frames of its own that the suite gets.
const BYTES: usize = 8 << 20;

pub(crate) fn frames() -> Outcome {
    static OWN: CaseFrames = Frames::new();
    let before = FRAMES.stats().free;
    let report = conformance::page_provider(&FramePages::new(&FRAMES));
    let report = report.map_err(|failure| Text::of(format_args!("{failure}")))?;
    let after = FRAMES.stats().free;
    ensure!(after == before, "{before} frames free before, {after} after");
    // And over two banks with a hole between them.
    if OWN.frame_size().is_none() {
        let (low, hole, high) = (piece(BYTES)?, piece(BYTES)?, piece(BYTES)?);
        // SAFETY: given to these frames for good.
        unsafe { set_up(&OWN, &[range_of(high), range_of(low)]) }?;
        give_back(hole)?;
    }
    let before = OWN.stats().free;
    let own = conformance::page_provider(&FramePages::new(&OWN));
    let own = own.map_err(|failure| Text::of(format_args!("two banks: {failure}")))?;
    ensure!(OWN.stats().free == before, "two banks: frames were lost");
    say!("  {} checks on the machine's frames, {} on two banks", report.checks, own.checks);
    Ok(Done::Ok)
}

static FRONT: Front = Front::new();
static BENCHES: [AtomicPtr<Bench<KernelEnv>>; CPUS] = [const { AtomicPtr::new(null_mut()) }; CPUS];
static OUTCOMES: Outcomes = Outcomes::new();
static CHECKS: AtomicUsize = AtomicUsize::new(0);

fn one_core(core: usize) {
    let bench = BENCHES[core].swap(null_mut(), Ordering::Relaxed);
    // SAFETY: leaked for this core, and taken out.
    let Some(bench) = (unsafe { bench.as_mut() }) else { return };
    let report = conformance::front_end(&FRONT, bench);
    let report = report.map_err(|failure| Text::of(format_args!("core {core}: {failure}")));
    let checked =
        report.map(|report| _ = CHECKS.fetch_add(report.checks as usize, Ordering::Relaxed));
    OUTCOMES.put(core, checked);
}

pub(crate) fn front_end() -> Outcome {
    if CHECKS.load(Ordering::Relaxed) > 0 {
        return Ok(Done::Skipped("once a boot: the front end has to be fresh"));
    }
    for bench in &BENCHES[..crew::count()] {
        bench.store(Box::into_raw(Box::new(Bench::new())), Ordering::Relaxed);
    }
    // One after the other: while a core waits for the next, it answers.
    crew::run(crew::count(), one_core);
    OUTCOMES.all()?;
    let checks = CHECKS.load(Ordering::Relaxed);
    ensure!(checks >= 100 * crew::count(), "only {checks} checks");
    say!("  {checks} checks on {} cores", crew::count());
    Ok(Done::Ok)
}
