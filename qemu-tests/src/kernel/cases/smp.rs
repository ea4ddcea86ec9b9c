//! All cores at one heap, with blocks freed by others than who allocated them.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::clock::Deadline;
use crate::kernel::heap::{FRAMES, GLOBAL, KernelConfig};
use crate::kernel::load::{Exchange, Of, Outcomes, Worker};
use crate::kernel::text::{Text, say};
use crate::kernel::{crew, memory};

static EXCHANGE: Exchange = Exchange::new();
static OUTCOMES: Outcomes = Outcomes::new();
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Milliseconds that the present job works for.
static MS: AtomicUsize = AtomicUsize::new(0);
/// Differs from run to run of the job.
static SEED: AtomicUsize = AtomicUsize::new(0);

fn work(core: usize) {
    OUTCOMES.put(core, work_on(core));
}

fn work_on(core: usize) -> Result<(), Text> {
    let heap = Of::<KernelConfig>(GLOBAL.heap());
    let seed = SEED.load(Ordering::Relaxed) * 64 + core;
    let mut worker = Worker::new(&heap, Some(&EXCHANGE), seed);
    let deadline = Deadline::after_ms(MS.load(Ordering::Relaxed) as u64);
    while !deadline.is_past() {
        for _ in 0..100 {
            if !worker.step()? {
                return Err(Text::of(format_args!("core {core}: out of memory")));
            }
        }
    }
    worker.finish()?;
    CALLS.fetch_add(worker.calls, Ordering::Relaxed);
    Ok(())
}

/// Works for `ms` milliseconds on `cores` cores; then all must be as before.
fn round(cores: usize, ms: usize) -> Outcome {
    let heap = GLOBAL.heap();
    heap.reclaim();
    let live = heap.stats().live_bytes();
    let frames = FRAMES.stats().free;
    MS.store(ms, Ordering::Relaxed);
    SEED.fetch_add(1, Ordering::Relaxed);
    crew::run(cores, work);
    OUTCOMES.all()?;
    // What one core left after another had finished.
    Worker::new(&Of::<KernelConfig>(heap), Some(&EXCHANGE), 0).finish()?;
    heap.reclaim();
    heap.check().map_err(|violation| Text::of(format_args!("{violation}")))?;
    let stats = heap.stats();
    ensure!(stats.live_bytes() == live, "{live} bytes live before, {} after", stats.live_bytes());
    ensure!(stats.cached_bytes == 0, "{} bytes still cached", stats.cached_bytes);
    let held = stats.reserved / memory::frame_size();
    let now = FRAMES.stats().free + held;
    ensure!(now >= frames, "{frames} frames free before, {now} free or held after");
    Ok(Done::Ok)
}

pub(crate) fn stress() -> Outcome {
    let cores = crew::count();
    CALLS.store(0, Ordering::Relaxed);
    for turn in 1..=4 {
        // Each time with another number of cores, the last with all.
        round((cores * turn / 4).max(1), 250)?;
    }
    say!("  {} calls on up to {cores} cores, nothing lost", CALLS.load(Ordering::Relaxed));
    Ok(Done::Ok)
}

/// As long as asked for.
pub(crate) fn soak() -> Outcome {
    let seconds = memory::seconds().unwrap_or(60);
    CALLS.store(0, Ordering::Relaxed);
    for turn in 0..seconds {
        round(crew::count(), 1000)?;
        defmt::info!("second {=usize} of {=usize}", turn + 1, seconds);
    }
    let calls = CALLS.load(Ordering::Relaxed);
    say!("  {calls} calls in {seconds} s on {} cores, nothing lost", crew::count());
    Ok(Done::Ok)
}
