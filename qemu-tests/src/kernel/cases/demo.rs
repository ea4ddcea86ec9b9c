//! A few seconds of load, and what each core made of it.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use granule::observe::stats::CpuStats;

use crate::kernel::case::{Done, Outcome};
use crate::kernel::clock::Deadline;
use crate::kernel::heap::{CPUS, FRAMES, GLOBAL, KernelConfig};
use crate::kernel::load::{Exchange, Of, Outcomes, Worker};
use crate::kernel::text::{Text, say};
use crate::kernel::{crew, memory};

/// Timer interrupts a second and core, each of which allocates, too.
const HZ: u32 = 1_000;

static EXCHANGE: Exchange = Exchange::new();
static OUTCOMES: Outcomes = Outcomes::new();
static CALLS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];
static TICKS: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];

/// What an interrupt handler may do now: build something on the heap.
fn tick() {
    let core = machine::cpu::id();
    let turn = TICKS[core].fetch_add(1, Ordering::Relaxed);
    let mut words: Vec<String> = Vec::new();
    for word in ["allocated", "in", "an", "interrupt"] {
        words.push(String::from(word));
    }
    let mut map = BTreeMap::new();
    map.insert(turn, words);
}

fn work(core: usize) {
    machine::timer::start_periodic(HZ);
    OUTCOMES.put(core, work_on(core));
    machine::timer::stop();
}

fn work_on(core: usize) -> Result<(), Text> {
    let heap = Of::<KernelConfig>(GLOBAL.heap());
    let mut worker = Worker::new(&heap, Some(&EXCHANGE), 7 * core + 3);
    let deadline = Deadline::after_ms(1000 * memory::seconds().unwrap_or(3) as u64);
    while !deadline.is_past() {
        for _ in 0..100 {
            if !worker.step()? {
                return Err(Text::of(format_args!("core {core}: out of memory")));
            }
        }
        CALLS[core].store(worker.calls, Ordering::Relaxed);
    }
    worker.finish()
}

/// A number with its unit, in five columns.
fn bytes(number: usize) -> Text {
    match number {
        0..10_240 => Text::of(format_args!("{number} B")),
        10_240..10_485_760 => Text::of(format_args!("{} KiB", number >> 10)),
        _ => Text::of(format_args!("{} MiB", number >> 20)),
    }
}

/// A part of a whole as a bar of 32 columns.
fn bar(part: usize, whole: usize) -> Text {
    let full = part * 32 / whole.max(1);
    let sign = |at: usize| if at < full { '#' } else { '.' };
    let mut columns = ['.'; 32];
    columns.iter_mut().enumerate().for_each(|(at, column)| *column = sign(at));
    let mut text = Text::of(format_args!(""));
    columns.iter().for_each(|column| text.push(*column));
    text
}

fn line(core: usize, stats: CpuStats) {
    let calls = CALLS[core].load(Ordering::Relaxed);
    let misses = u64::from(stats.refills) + u64::from(stats.overflows);
    // In hundredths of a per cent.
    let hits = 10_000 - (misses * 10_000 / calls.max(1)).min(10_000);
    say!(
        "  {core:>4} {calls:>12} {:>4}.{:02} % {:>10} {:>10} {:>12}",
        hits / 100,
        hits % 100,
        bytes(stats.cached_bytes),
        bytes(stats.parked_bytes),
        TICKS[core].load(Ordering::Relaxed),
    );
}

pub(crate) fn show() -> Outcome {
    let cores = crew::count();
    let heap = GLOBAL.heap();
    say!("  one heap, {cores} cores, blocks freed by other cores than they came from,");
    say!("  and {HZ} interrupts a second on each core that allocate as well");
    machine::trap::set_timer_handler(tick);
    crew::run(cores, work);
    OUTCOMES.all()?;
    Worker::new(&Of::<KernelConfig>(heap), Some(&EXCHANGE), 0).finish()?;
    say!("");
    say!(
        "  {:>4} {:>12} {:>9} {:>10} {:>10} {:>12}",
        "core",
        "calls",
        "hits",
        "cached",
        "parked",
        "interrupts"
    );
    (0..cores).for_each(|core| line(core, heap.cpu_stats(core).unwrap_or_default()));
    let stats = heap.stats();
    let frames = FRAMES.stats();
    let whole = frames.frames * memory::frame_size();
    let used = whole - frames.free * memory::frame_size();
    say!("");
    say!("  memory  [{}] {} of {} in use", bar(used, whole), bytes(used), bytes(whole));
    say!(
        "  heap    [{}] {} live of {}",
        bar(stats.live_bytes(), stats.reserved),
        bytes(stats.live_bytes()),
        bytes(stats.reserved)
    );
    say!(
        "  caches  [{}] {} cached",
        bar(stats.cached_bytes, stats.reserved),
        bytes(stats.cached_bytes)
    );
    heap.reclaim();
    let after = heap.stats();
    say!(
        "  after reclaim: {} live, {} cached, {} held",
        bytes(after.live_bytes()),
        bytes(after.cached_bytes),
        bytes(after.reserved)
    );
    Ok(Done::Ok)
}
