//! What it costs: instructions a call, calls a second on all cores, bytes of
//! metadata; and the same of the allocators that are one heap behind one lock.

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use granule::Config;
use granule::cache::slot::Slot;
use granule::core_api::Heap;
use granule::kernel::frames::FramePages;
use spin::mutex::SpinMutex;

use super::owned::CaseHeap;

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::clock::{Deadline, micros};
use crate::kernel::crew;
use crate::kernel::heap::{FRAMES, Front, GLOBAL, KernelConfig, KernelEnv};
use crate::kernel::load::{Allocator, Of, Outcomes, Worker, some_layout};
use crate::kernel::peers;
use crate::kernel::random::Random;
use crate::kernel::text::{Text, say};

/// Instructions of a hit through the portable front end on the host (x86_64,
/// `Heap::alloc` and `Heap::dealloc` with a layout known at run time), as
/// callgrind counts them.
const HOST_ALLOC: u64 = 40;
const HOST_FREE: u64 = 40;

/// Memory of each peer.
const PEER_BYTES: usize = 16 << 20;
/// Blocks that a worker here holds at most.
const HELD: usize = 256;
/// Milliseconds of work for each allocator.
const MS: u64 = 200;

/// Granule as the global allocator sees it.
struct Global;

impl Allocator for Global {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout here is of size 0.
        unsafe { GLOBAL.alloc(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { GLOBAL.dealloc(block.as_ptr(), layout) };
    }
}

/// Starts all peers, once a boot: what they get is theirs for ever.
fn start_peers() -> Result<(), Text> {
    static STARTED: SpinMutex<bool> = SpinMutex::new(false);
    let mut started = STARTED.lock();
    for peer in peers::all().into_iter().filter(|_| !*started) {
        let layout = Layout::from_size_align(PEER_BYTES, 4096).unwrap_or(Layout::new::<u64>());
        let memory = NonNull::new(GLOBAL.heap().alloc(layout));
        let Some(memory) = memory else {
            return Err(Text::of(format_args!("no memory for {}", peer.name())));
        };
        // SAFETY: never freed.
        unsafe { peer.start(memory, PEER_BYTES) };
    }
    *started = true;
    Ok(())
}

/// Calls that are in flight when instructions are counted.
const BATCH: usize = 16;
/// Blocks by which a batch is moved.
const SHIFTS: usize = 24;

/// Instructions of one call to allocate and of one to free, a hit each.
#[derive(Clone, Copy)]
struct Pair {
    alloc: u64,
    free: u64,
}

impl Pair {
    fn sum(self) -> u64 {
        self.alloc + self.free
    }

    fn less(self, loops: Self) -> Self {
        let alloc = self.alloc.saturating_sub(loops.alloc);
        Self { alloc, free: self.free.saturating_sub(loops.free) }
    }
}

/// Counts hits of blocks whose layout is what the function says: a constant,
/// or something the compiler cannot see through.
#[inline(never)]
fn count<A: Allocator>(allocator: &A, layout: impl Fn() -> Layout) -> Option<Pair> {
    let mut blocks = [None; BATCH];
    let mut kept = [None; SHIFTS];
    let mut best: Option<Pair> = None;
    // A batch may straddle the edge of what is cached, so it is moved by a
    // block at a time, and the best place counts: hits alone.
    for turn in 0..4 * SHIFTS {
        if let Some(place) = kept.get_mut(turn / 2) {
            *place = NonNull::new(allocator.alloc(layout()));
        }
        let start = machine::cpu::instructions();
        for block in &mut blocks {
            *block = NonNull::new(black_box(allocator.alloc(layout())));
        }
        let middle = machine::cpu::instructions();
        for block in blocks {
            // SAFETY: just allocated, of that layout.
            unsafe { allocator.dealloc(black_box(block?), layout()) };
        }
        let end = machine::cpu::instructions();
        let pair = Pair { alloc: middle - start, free: end - middle };
        if best.is_none_or(|best| pair.sum() < best.sum()) {
            best = Some(pair);
        }
    }
    for block in kept.into_iter().take(2 * SHIFTS) {
        // SAFETY: allocated above, of that layout.
        unsafe { allocator.dealloc(block?, layout()) };
    }
    let batch = BATCH as u64;
    best.map(|best| Pair { alloc: best.alloc / batch, free: best.free / batch })
}

/// Does nothing: what the loops themselves cost.
struct Nothing;

impl Allocator for Nothing {
    #[inline(always)]
    fn alloc(&self, layout: Layout) -> *mut u8 {
        core::ptr::without_provenance_mut(layout.align())
    }

    #[inline(always)]
    unsafe fn dealloc(&self, _block: NonNull<u8>, _layout: Layout) {}
}

/// Instructions a call of random work.
fn count_random(allocator: &dyn Allocator) -> u64 {
    let mut mix = Mix::new(0);
    (0..2_000).for_each(|_| mix.step(allocator));
    let (start, before) = (machine::cpu::instructions(), mix.calls);
    (0..4_000).for_each(|_| mix.step(allocator));
    let each = (machine::cpu::instructions() - start) / (mix.calls - before).max(1);
    mix.finish(allocator);
    each
}

/// What is counted of an allocator.
struct Row {
    /// Layouts known when the kernel is built, as those of boxes.
    known: Pair,
    /// Layouts known when the call is made, as those of vectors.
    unknown: Pair,
    random: u64,
}

const BLOCK: Layout = Layout::new::<[u64; 8]>();

fn row<A: Allocator>(name: &str, allocator: &A) -> Result<Row, Text> {
    let all = (
        count(allocator, || BLOCK),
        count(allocator, || black_box(BLOCK)),
        count(&Nothing, || BLOCK),
        count(&Nothing, || black_box(BLOCK)),
    );
    let (Some(known), Some(unknown), Some(empty), Some(loops)) = all else {
        return Err(Text::of(format_args!("{name} is out of memory")));
    };
    let row = Row {
        known: known.less(empty),
        unknown: unknown.less(loops),
        random: count_random(allocator).saturating_sub(count_random(&Nothing)),
    };
    say!(
        "    {name:<24} {:>5} {:>5} {:>10} {:>5} {:>10}",
        row.known.alloc,
        row.known.free,
        row.unknown.alloc,
        row.unknown.free,
        row.random,
    );
    Ok(row)
}

pub(crate) fn instructions() -> Outcome {
    start_peers()?;
    say!("  instructions a hit         box: alloc, free   vec: alloc, free   random mix");
    let peers = [
        row("talc", &peers::TALC)?,
        row("linked_list_allocator", &peers::LINKED)?,
        row("buddy_system_allocator", &peers::BUDDY)?,
        row("rlsf", &peers::RLSF)?,
        row("embedded-alloc (TLSF)", &peers::EMBEDDED)?,
    ];
    let own = row("granule", &Global)?;
    let best = |of: fn(&Row) -> u64| peers.iter().map(of).min().unwrap_or(0);
    let (known, unknown) = (best(|row| row.known.sum()), best(|row| row.unknown.sum()));
    let percent = |part: u64, whole: u64| part * 100 / whole.max(1);
    say!(
        "  a pair takes {} % of the best peer's, {} % where the layout is not known before",
        percent(own.known.sum(), known),
        percent(own.unknown.sum(), unknown),
    );
    let host = HOST_ALLOC + HOST_FREE;
    say!("  and {} % of the {host} on the host", percent(own.unknown.sum(), host));
    let pair = own.known.sum();
    ensure!(2 * pair <= known, "a pair takes {pair} instructions, the best peer's {known}");
    let pair = own.unknown.sum();
    ensure!(4 * pair <= 3 * unknown, "a pair takes {pair} instructions, the best peer's {unknown}");
    ensure!(pair <= 2 * host, "a pair takes {pair} instructions, on the host {host}");
    Ok(Done::Ok)
}

/// Random allocations and frees, without a shadow.
struct Mix {
    random: Random,
    blocks: [Option<(NonNull<u8>, Layout)>; HELD],
    calls: u64,
}

impl Mix {
    fn new(seed: usize) -> Self {
        Self { random: Random::new(seed), blocks: [None; HELD], calls: 0 }
    }

    #[inline]
    fn step(&mut self, allocator: &dyn Allocator) {
        let at = self.random.below(HELD);
        self.calls += 1;
        self.blocks[at] = match self.blocks[at] {
            Some((block, layout)) => {
                // SAFETY: live, of that layout; no longer in its place.
                unsafe { allocator.dealloc(block, layout) };
                None
            }
            None => {
                let layout = some_layout(&mut self.random);
                NonNull::new(allocator.alloc(layout)).map(|block| (block, layout))
            }
        };
    }

    fn finish(&mut self, allocator: &dyn Allocator) {
        for (block, layout) in self.blocks.iter_mut().filter_map(Option::take) {
            // SAFETY: live, of that layout.
            unsafe { allocator.dealloc(block, layout) };
        }
    }
}

/// Which allocator the cores work on: 0 granule, else a peer.
static AT: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn race(core: usize) {
    let peers = peers::all();
    let allocator: &dyn Allocator = match AT.load(Ordering::Relaxed) {
        0 => &Global,
        number => peers[number - 1],
    };
    let mut mix = Mix::new(core);
    let deadline = Deadline::after_ms(MS);
    while !deadline.is_past() {
        (0..200).for_each(|_| mix.step(allocator));
    }
    CALLS.fetch_add(mix.calls, Ordering::Relaxed);
    mix.finish(allocator);
}

/// Thousands of calls a second, of one core and of all together.
fn speed(number: usize) -> [u64; 2] {
    AT.store(number, Ordering::Relaxed);
    [1, crew::count()].map(|cores| {
        CALLS.store(0, Ordering::Relaxed);
        let start = micros();
        crew::run(cores, race);
        let took = micros() - start;
        CALLS.load(Ordering::Relaxed) * 1000 / took.max(1)
    })
}

pub(crate) fn throughput() -> Outcome {
    start_peers()?;
    let cores = crew::count();
    say!("  thousand calls a second, random mix {:>10} {cores:>6} cores", "1 core");
    let mut best = 0;
    for (number, peer) in peers::all().into_iter().enumerate() {
        let [one, all] = speed(number + 1);
        say!("    {:<32} {one:>10} {all:>10}", peer.name());
        best = best.max(all);
    }
    let [one, all] = speed(0);
    say!("    {:<32} {one:>10} {all:>10}", "granule");
    let ratio = all * 100 / best.max(1);
    say!("  on {cores} cores {}.{:02} times the best peer's", ratio / 100, ratio % 100);
    ensure!(all > 0 && best > 0, "nothing was done");
    Ok(Done::Ok)
}

/// Some work on a heap that has done none yet, with many classes.
fn warm(core: usize) {
    let heap = Of(&FRESH);
    let mut worker = Worker::new(&heap, None, core);
    let done = (0..2_000).try_for_each(|_| worker.step().map(drop));
    OUTCOMES.put(core, done.and_then(|()| worker.finish()));
}

static OUTCOMES: Outcomes = Outcomes::new();
static FRESH: CaseHeap = CaseHeap::new(FramePages::new(&FRAMES), Front::new());

/// Most bytes of metadata a core after that: some 40 classes were used, whose
/// sheaves have grown to 32 words and more.
const PER_CORE: usize = 20 << 10;

pub(crate) fn footprint() -> Outcome {
    if FRESH.stats().regions > 0 {
        return Ok(Done::Skipped("once a boot: the heap has to be fresh"));
    }
    crew::run(crew::count(), warm);
    OUTCOMES.all()?;
    let stats = FRESH.stats();
    let each = stats.own_bytes / crew::count();
    let slot = size_of::<Slot<KernelEnv>>();
    let fixed = size_of::<Heap<KernelConfig>>();
    say!(
        "  {each} B a core for caches, of which {slot} B are its slot; {} B cached a core",
        stats.cached_bytes / crew::count()
    );
    say!("  {fixed} B in the heap's static; frames: {}", FRAMES.stats());
    // A chunk is taken whole, and may just have been begun.
    let chunk = KernelConfig::POOL_PAGES as usize * 4096 / crew::count();
    ensure!(each <= PER_CORE + chunk, "{each} B a core");
    Ok(Done::Ok)
}
