//! Allocation on top of allocation: from a timer interrupt on every core,
//! while the core's main loop allocates.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use spin::mutex::SpinMutex;

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::clock::Deadline;
use crate::kernel::crew;
use crate::kernel::heap::{CPUS, GLOBAL, KernelConfig};
use crate::kernel::load::{Allocator, NoLock, Of, Outcomes, Worker, some_layout};
use crate::kernel::random::Random;
use crate::kernel::shadow::Block;
use crate::kernel::text::{Text, say};

/// Interrupts in a second, on every core.
const HZ: u32 = 2_000;
/// Milliseconds of work, at least ...
const MS: u64 = 400;
/// ... and at most: until every core has had this many interrupts, of which an
/// emulator with fewer cores than the machine loses most.
const MS_MOST: u64 = 20_000;
const LEAST: usize = 100;
/// Blocks that an interrupt keeps from one to the next.
const KEPT: usize = 24;

/// What the interrupts of one core have.
struct Top {
    random: Random,
    blocks: [Option<Block>; KEPT],
    outcome: Result<(), Text>,
}

/// Taken by the core's own interrupts alone, and by nobody at the same time.
static TOPS: [SpinMutex<Option<Top>>; CPUS] = [const { SpinMutex::new(None) }; CPUS];
static TICKS: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];
static MISSES: AtomicUsize = AtomicUsize::new(0);
static OUTCOMES: Outcomes = Outcomes::new();
/// Whether interrupts use the calls that never wait.
static NO_LOCK: AtomicBool = AtomicBool::new(false);

impl Top {
    fn new(core: usize) -> Self {
        Self { random: Random::new(1000 + core), blocks: [None; KEPT], outcome: Ok(()) }
    }

    fn work(&mut self, allocator: &dyn Allocator, turns: usize) -> Result<(), Text> {
        for _ in 0..turns {
            let at = self.random.below(KEPT);
            if let Some(block) = self.blocks[at].take() {
                free(allocator, block)?;
                continue;
            }
            let layout = some_layout(&mut self.random);
            let start = allocator.alloc(layout);
            if start.is_null() {
                MISSES.fetch_add(1, Ordering::Relaxed);
            } else {
                self.blocks[at] = Some(Block::born(start, layout)?);
            }
        }
        Ok(())
    }
}

fn free(allocator: &dyn Allocator, block: Block) -> Result<(), Text> {
    block.dies()?;
    // SAFETY: live, of that layout, and ours.
    unsafe { allocator.dealloc(block.start, block.layout) };
    Ok(())
}

fn with_allocator<R>(use_it: impl FnOnce(&dyn Allocator) -> R) -> R {
    if NO_LOCK.load(Ordering::Relaxed) {
        use_it(&NoLock::<KernelConfig>(GLOBAL.heap()))
    } else {
        use_it(&Of::<KernelConfig>(GLOBAL.heap()))
    }
}

fn tick() {
    let core = machine::cpu::id();
    TICKS[core].fetch_add(1, Ordering::Relaxed);
    // Taken: the main loop is setting up or tearing down.
    let Some(mut top) = TOPS[core].try_lock() else { return };
    if let Some(top) = top.as_mut()
        && top.outcome.is_ok()
    {
        top.outcome = with_allocator(|allocator| top.work(allocator, 6));
    }
}

fn work(core: usize) {
    *TOPS[core].lock() = Some(Top::new(core));
    machine::timer::start_periodic(HZ);
    let below = main_loop(core);
    machine::timer::stop();
    let top = TOPS[core].lock().take();
    let above = top.map_or(Ok(()), |top| {
        let mut rest = top.blocks.into_iter().flatten();
        let freed = with_allocator(|allocator| rest.try_for_each(|block| free(allocator, block)));
        top.outcome.and(freed)
    });
    OUTCOMES.put(core, below.and(above));
}

fn main_loop(core: usize) -> Result<(), Text> {
    let heap = Of::<KernelConfig>(GLOBAL.heap());
    let mut worker = Worker::new(&heap, None, core);
    let (enough, deadline) = (Deadline::after_ms(MS), Deadline::after_ms(MS_MOST));
    let few = || TICKS[..crew::count()].iter().any(|ticks| ticks.load(Ordering::Relaxed) < LEAST);
    while !deadline.is_past() && (!enough.is_past() || few()) {
        for _ in 0..50 {
            if !worker.step()? {
                return Err(Text::of(format_args!("core {core}: out of memory")));
            }
        }
    }
    worker.finish()
}

fn run(no_lock: bool) -> Outcome {
    let heap = GLOBAL.heap();
    heap.reclaim();
    let live = heap.stats().live_bytes();
    NO_LOCK.store(no_lock, Ordering::Relaxed);
    MISSES.store(0, Ordering::Relaxed);
    TICKS.iter().for_each(|ticks| ticks.store(0, Ordering::Relaxed));
    machine::trap::set_timer_handler(tick);
    crew::run(crew::count(), work);
    OUTCOMES.all()?;
    let ticks = || TICKS[..crew::count()].iter().map(|ticks| ticks.load(Ordering::Relaxed));
    let (fewest, all) = (ticks().min().unwrap_or(0), ticks().sum::<usize>());
    ensure!(fewest >= LEAST, "only {fewest} interrupts on a core");
    heap.reclaim();
    let now = heap.stats().live_bytes();
    ensure!(now == live, "{live} bytes live before, {now} after");
    let misses = MISSES.load(Ordering::Relaxed);
    say!("  {all} interrupts, at least {fewest} a core; {misses} requests refused in them");
    ensure!(no_lock || misses == 0, "{misses} requests refused");
    Ok(Done::Ok)
}

pub(crate) fn allocate_on_top() -> Outcome {
    run(false)
}

pub(crate) fn never_wait() -> Outcome {
    run(true)
}

/// The negative control: a heap behind a plain lock, which an interrupt finds
/// taken by the core it interrupted.
static LOCKED: SpinMutex<linked_list_allocator::Heap> =
    SpinMutex::new(linked_list_allocator::Heap::empty());
/// Counts what core 1's main loop does; the watchdog looks at it.
static PROGRESS: AtomicUsize = AtomicUsize::new(0);
/// The watchdog has seen no progress: who waits may give up.
static BARKED: AtomicBool = AtomicBool::new(false);
/// An interrupt has waited for a lock that its own core held.
static STUCK: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);

fn locked_tick() {
    while !OVER.load(Ordering::Relaxed) {
        if let Some(mut heap) = LOCKED.try_lock() {
            once(&mut heap);
            return;
        }
        if BARKED.load(Ordering::Relaxed) {
            // As a locked heap would not: only so the machine goes on.
            STUCK.store(true, Ordering::Relaxed);
            return;
        }
        machine::cpu::relax();
    }
}

fn once(heap: &mut linked_list_allocator::Heap) {
    let layout = Layout::new::<[u64; 8]>();
    if let Ok(block) = heap.allocate_first_fit(layout) {
        // SAFETY: just allocated, of that layout.
        unsafe { heap.deallocate(block, layout) };
    }
}

fn locked_work(core: usize) {
    let deadline = Deadline::after_ms(3_000);
    if core == 1 {
        machine::timer::start_periodic(HZ);
        while !STUCK.load(Ordering::Relaxed) && !deadline.is_past() {
            once(&mut LOCKED.lock());
            PROGRESS.fetch_add(1, Ordering::Relaxed);
        }
        machine::timer::stop();
        OVER.store(true, Ordering::Relaxed);
    } else if core == 0 {
        watch(deadline);
    }
}

/// Barks when the count stands still for a tenth of a second.
fn watch(deadline: Deadline) {
    let mut seen = PROGRESS.load(Ordering::Relaxed);
    let mut patience = Deadline::after_ms(100);
    while !OVER.load(Ordering::Relaxed) && !deadline.is_past() {
        let now = PROGRESS.load(Ordering::Relaxed);
        if now != seen {
            (seen, patience) = (now, Deadline::after_ms(100));
        } else if patience.is_past() {
            BARKED.store(true, Ordering::Relaxed);
        }
        machine::cpu::relax();
    }
}

pub(crate) fn a_locked_heap_deadlocks() -> Outcome {
    if crew::count() < 2 {
        return Ok(Done::Skipped("the watchdog needs a core of its own"));
    }
    const BYTES: usize = 64 << 10;
    let layout = Layout::from_size_align(BYTES, 4096).unwrap_or(Layout::new::<u64>());
    let Some(memory) = NonNull::new(GLOBAL.heap().alloc(layout)) else {
        return Err(Text::of(format_args!("out of memory")));
    };
    // SAFETY: ours until it is freed below.
    unsafe { LOCKED.lock().init(memory.as_ptr(), BYTES) };
    machine::trap::set_timer_handler(locked_tick);
    crew::run(2, locked_work);
    // SAFETY: the cores are done with it.
    unsafe { GLOBAL.heap().dealloc(memory, layout) };
    let progress = PROGRESS.load(Ordering::Relaxed);
    ensure!(
        STUCK.load(Ordering::Relaxed),
        "no deadlock in {progress} turns: the case proves nothing"
    );
    say!("  a heap behind a lock stood still after {progress} turns, as it must");
    Ok(Done::Ok)
}
