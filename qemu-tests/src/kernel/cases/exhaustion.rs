//! Running out of memory, to the last frame, and getting over it.

use core::alloc::Layout;
use core::ptr::NonNull;

use granule::kernel::frames::{FramePages, Frames};

use super::owned::{CaseFrames, CaseHeap, aligned_piece, range_of, set_up};
use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::heap::Front;
use crate::kernel::memory;
use crate::kernel::shadow::Block;
use crate::kernel::text::{Text, say};

/// Bytes of frames, and how many frames at least: so few that it takes no time,
/// so many that what a region costs does not show.
const BYTES: usize = 4 << 20;
const LEAST: usize = 256;

/// Where the frames begin: in a few small regions slabs fit one more or less
/// as these lie, and the kernel's own size should not decide it.
const ALIGN: u64 = 1 << 20;

/// Bytes that the heap may leave: less than a slab of the largest kind, or
/// one more run, with the tables they would need.
const LEFT_OVER: usize = 320 << 10;
const MOST_LEFT: usize = LEFT_OVER / 4096;

static FRAMES: CaseFrames = Frames::new();
static HEAP: CaseHeap = CaseHeap::new(FramePages::new(&FRAMES), Front::new());

fn layout(size: usize) -> Layout {
    // Sizes here are small.
    Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u64>())
}

/// The chain of blocks through their first words, so that their number has no
/// end but memory's.
struct Chain(Option<NonNull<u8>>);

impl Chain {
    fn push(&mut self, block: NonNull<u8>) {
        // SAFETY: ours, of at least a word.
        unsafe { block.cast().write(self.0) };
        self.0 = Some(block);
    }

    fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = self.0?;
        // SAFETY: written by `push`.
        self.0 = unsafe { block.cast::<Option<NonNull<u8>>>().read() };
        Some(block)
    }
}

/// Allocates blocks of one size until there is none; how many.
fn fill(chain: &mut Chain, size: usize) -> usize {
    let mut count = 0;
    while let Some(block) = NonNull::new(HEAP.alloc(layout(size))) {
        chain.push(block);
        count += 1;
    }
    count
}

fn empty(chain: &mut Chain, size: usize) {
    while let Some(block) = chain.pop() {
        // SAFETY: live, of that layout.
        unsafe { HEAP.dealloc(block, layout(size)) };
    }
}

fn set_up_once() -> Result<(), Text> {
    if FRAMES.frame_size().is_none() {
        let run = aligned_piece(BYTES.max(LEAST * memory::frame_size()), ALIGN)?;
        // SAFETY: given to these frames for good.
        unsafe { set_up(&FRAMES, &[range_of(run)]) }?;
    }
    Ok(())
}

pub(crate) fn to_the_last_frame_and_back() -> Outcome {
    set_up_once()?;
    HEAP.reclaim();
    let free = FRAMES.stats().free;
    // Blocks of a page leave nothing over, so every frame is handed out. Small
    // ones and large ones meet the same end.
    for size in [4096, 64, 100 << 10, 24, 4096] {
        let mut chain = Chain(None);
        let count = fill(&mut chain, size);
        let left = FRAMES.stats().free;
        let used = (free - left) * memory::frame_size();
        let held = count * size;
        ensure!(5 * held >= 4 * used, "{count} blocks of {size} B take {used} B");
        // What is left is no slab and no run of that size any more.
        ensure!(left * memory::frame_size() <= LEFT_OVER, "{left} frames are left");
        // The kernel itself takes them, to the last.
        let mut taken = 0;
        let mut last = [None; MOST_LEFT];
        while let Ok(run) = FRAMES.alloc(1) {
            let Some(place) = last.get_mut(taken) else { break };
            *place = Some(run);
            taken += 1;
        }
        ensure!(taken == left && FRAMES.stats().free == 0, "{taken} of {left} frames were had");
        ensure!(HEAP.alloc(layout(1 << 20)).is_null(), "a MiB when there is nothing");
        ensure!(HEAP.alloc(layout(32 << 10)).is_null(), "32 KiB when there is nothing");
        // One given back is one to be had.
        if let Some(block) = chain.pop() {
            // SAFETY: live, of that layout.
            unsafe { HEAP.dealloc(block, layout(size)) };
            let again = HEAP.alloc(layout(size));
            let Some(again) = NonNull::new(again) else {
                return Err(Text::of(format_args!("{size} B freed, and not to be had")));
            };
            chain.push(again);
        }
        empty(&mut chain, size);
        for run in last.into_iter().flatten() {
            // SAFETY: taken above, and not used.
            let freed = unsafe { FRAMES.free(run) };
            ensure!(freed.is_ok(), "a frame was not taken back");
        }
        HEAP.reclaim();
        let stats = HEAP.stats();
        ensure!(stats.live_bytes() == 0, "{} bytes are live", stats.live_bytes());
        let now = FRAMES.stats().free + stats.reserved / memory::frame_size();
        ensure!(now == free, "{free} frames were free or held, {now} are");
        say!(
            "  {count:>6} blocks of {size:>6} B, {:>3} % of {} frames",
            100 * held / (free * memory::frame_size()).max(1),
            free
        );
    }
    Ok(Done::Ok)
}

pub(crate) fn reserves_outlast_the_memory() -> Outcome {
    set_up_once()?;
    HEAP.reclaim();
    let small = Layout::new::<[u64; 12]>();
    let large = layout(40 << 10);
    let (Ok(mut few), Ok(mut some)) = (HEAP.prefill(large, 3), HEAP.prefill(small, 200)) else {
        return Err(Text::of(format_args!("no memory for reserves")));
    };
    ensure!(HEAP.prefill(large, 10_000).is_err(), "a reserve of 400 MB");
    let mut chain = Chain(None);
    fill(&mut chain, 4096);
    let mut rest = Chain(None);
    fill(&mut rest, 96);
    ensure!(HEAP.alloc(small).is_null(), "memory is not used up");
    {
        // As under a kernel's lock: nothing waits, nothing fails.
        let _masked = machine::cpu::mask();
        for (reserve, count, layout) in [(&mut few, 3, large), (&mut some, 200, small)] {
            for turn in 0..count {
                let Some(block) = reserve.take() else {
                    return Err(Text::of(format_args!("only {turn} of {count} were there")));
                };
                let block = Block::born(block.as_ptr(), layout)?;
                block.dies()?;
                // SAFETY: live, of that layout.
                unsafe { HEAP.dealloc_nolock(block.start, layout) };
            }
            ensure!(reserve.take().is_none(), "one more than was set aside");
        }
    }
    drop((few, some));
    empty(&mut chain, 4096);
    empty(&mut rest, 96);
    HEAP.reclaim();
    ensure!(HEAP.stats().live_bytes() == 0, "{} bytes are live", HEAP.stats().live_bytes());
    Ok(Done::Ok)
}
