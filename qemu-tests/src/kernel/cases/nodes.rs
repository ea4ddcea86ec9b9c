//! A heap that tells the machine's nodes apart: how much of what a core gets is
//! of its node.

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use granule::Config;
use granule::core_api::Heap;
use granule::kernel::frames::FramePages;

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::heap::{BANKS, CPUS, FRAMES, Front, KernelEnv};
use crate::kernel::text::say;
use crate::kernel::{crew, memory};

/// A heap of the machine's frames that knows up to four nodes.
struct Near;

impl Config for Near {
    type Pages = FramePages<KernelEnv, BANKS>;
    type Front = Front;
    type Env = KernelEnv;

    const NODES: u16 = 4;
}

static HEAP: Heap<Near> = Heap::new(FramePages::new(&FRAMES), Front::new());

/// Blocks that each core takes of each size, linked through their first words.
const BLOCKS: usize = 2000;
const SIZES: [usize; 3] = [48, 256, 2048];
/// Objects of the sheaf in use: what a core may get back that is not near.
const SHEAF: usize = 126;

/// What each core leaves for the next one, a list a size.
static LEFT: [[AtomicPtr<u8>; SIZES.len()]; CPUS] =
    [const { [const { AtomicPtr::new(null_mut()) }; SIZES.len()] }; CPUS];
/// Blocks there were, and those near to whoever got them.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static NEAR: AtomicUsize = AtomicUsize::new(0);
/// Whether each core's share was as large as it has to be.
static WORST: AtomicUsize = AtomicUsize::new(usize::MAX);

fn layout(size: usize) -> Layout {
    // SAFETY: small sizes, and 8 is a power of two.
    unsafe { Layout::from_size_align_unchecked(size, 8) }
}

/// Takes blocks of each size, counts those that are near, and leaves them.
fn take(core: usize) {
    let node = Some(memory::node());
    for (size, list) in SIZES.into_iter().zip(&LEFT[core]) {
        let mut near = 0;
        for _ in 0..BLOCKS {
            let Some(block) = NonNull::new(HEAP.alloc(layout(size))) else { break };
            near += usize::from(HEAP.node_of(block.as_ptr()) == node);
            let before = list.swap(block.as_ptr(), Ordering::Relaxed);
            // SAFETY: live, ours, and larger than a pointer.
            unsafe { block.cast::<*mut u8>().write(before) };
            TAKEN.fetch_add(1, Ordering::Relaxed);
        }
        NEAR.fetch_add(near, Ordering::Relaxed);
        WORST.fetch_min(near, Ordering::Relaxed);
    }
}

/// Frees what a core of the other half of the machine has left.
fn free(core: usize) {
    let cores = crew::count();
    for (size, list) in SIZES.into_iter().zip(&LEFT[(core + cores / 2) % cores]) {
        let mut at = list.swap(null_mut(), Ordering::Relaxed);
        while let Some(block) = NonNull::new(at) {
            // SAFETY: live and of that layout, with the link that `take` wrote;
            // one core took the list.
            unsafe {
                at = block.cast::<*mut u8>().read();
                HEAP.dealloc(block, layout(size));
            }
        }
    }
}

/// Takes and frees on all cores; returns the share that was near, in percent, and
/// the least that a core got of a size.
fn round() -> (usize, usize) {
    TAKEN.store(0, Ordering::Relaxed);
    NEAR.store(0, Ordering::Relaxed);
    WORST.store(usize::MAX, Ordering::Relaxed);
    crew::run(crew::count(), take);
    crew::run(crew::count(), free);
    let share = 100 * NEAR.load(Ordering::Relaxed) / TAKEN.load(Ordering::Relaxed).max(1);
    (share, WORST.load(Ordering::Relaxed))
}

/// Takes large blocks until the caller's node has none, and gives them back:
/// how many were near, and how many were not.
fn fill() -> (usize, usize) {
    const LARGE: Layout = Layout::new::<[u8; 1 << 20]>();
    let node = Some(memory::node());
    let (mut near, mut far, mut list) = (0, 0, null_mut());
    while far < 4
        && let Some(block) = NonNull::new(HEAP.alloc(LARGE))
    {
        let is_near = HEAP.node_of(block.as_ptr()) == node;
        (near, far) = if is_near { (near + 1, far) } else { (near, far + 1) };
        // SAFETY: live, ours, and larger than a pointer.
        unsafe { block.cast::<*mut u8>().write(list) };
        list = block.as_ptr();
    }
    while let Some(block) = NonNull::new(list) {
        // SAFETY: live, of that layout, with the link just written.
        unsafe {
            list = block.cast::<*mut u8>().read();
            HEAP.dealloc(block, LARGE);
        }
    }
    (near, far)
}

pub(crate) fn each_core_has_memory_of_its_node() -> Outcome {
    let nodes = FRAMES.nodes();
    if nodes < 2 {
        return Ok(Done::Skipped("the machine has one node"));
    }
    let before = FRAMES.stats().free;
    let (fresh, worst) = round();
    ensure!(
        fresh == 100 && worst == BLOCKS,
        "{fresh} % of fresh blocks are near, at least {worst}"
    );
    // From now on the sheaves in use have what others took.
    let mut least = 100;
    for _ in 0..10 {
        let (share, worst) = round();
        ensure!(worst + SHEAF >= BLOCKS, "only {worst} of {BLOCKS} blocks of a size are near");
        least = least.min(share);
    }
    HEAP.reclaim();
    let (near, far) = fill();
    ensure!(near > 0 && far == 4, "{near} MiB near, then {far} far away");
    HEAP.reclaim();
    let stats = HEAP.stats();
    ensure!(stats.live_bytes() == 0, "{} bytes are live", stats.live_bytes());
    let held = stats.reserved / memory::frame_size();
    let now = FRAMES.stats().free + held;
    ensure!(now == before, "{before} frames free before, {now} free or held after");
    say!("  {nodes} nodes: {fresh} % of fresh blocks near, {least} % of those freed elsewhere");
    say!("  core 0: {near} MiB of its node, then {far} of others");
    Ok(Done::Ok)
}
