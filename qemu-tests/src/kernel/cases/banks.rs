//! One heap over banks that do not touch.

use granule::kernel::frames::{FramePages, Frames};

use super::owned::{CaseFrames, CaseHeap, give_back, piece, range_of, set_up};
use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::heap::Front;
use crate::kernel::load::{Of, Worker};
use crate::kernel::memory;
use crate::kernel::text::say;

/// Bytes of a bank, and of the holes between.
const BYTES: usize = 2 << 20;

static FRAMES: CaseFrames = Frames::new();
static HEAP: CaseHeap = CaseHeap::new(FramePages::new(&FRAMES), Front::new());

pub(crate) fn one_heap_over_several() -> Outcome {
    if FRAMES.frame_size().is_none() {
        let banks = [piece(BYTES)?, piece(BYTES)?, piece(BYTES)?, piece(BYTES)?, piece(BYTES)?];
        let [one, hole, two, other_hole, three] = banks;
        // SAFETY: given to these frames for good; not in the order they lie in.
        unsafe { set_up(&FRAMES, &[range_of(two), range_of(three), range_of(one)]) }?;
        give_back(hole)?;
        give_back(other_hole)?;
    }
    let banks = FRAMES.banks().count();
    ensure!(banks == 3, "{banks} banks");
    let free = FRAMES.stats().free;
    let heap = Of(&HEAP);
    let mut worker = Worker::new(&heap, None, 5);
    for _ in 0..60_000 {
        // Memory may run out: that is no failure here.
        worker.step()?;
    }
    let most = HEAP.stats().regions;
    let used = FRAMES.banks().filter(|bank| bank.allocations > 0).count();
    worker.finish()?;
    HEAP.reclaim();
    let stats = HEAP.stats();
    ensure!(stats.live_bytes() == 0, "{} bytes are live", stats.live_bytes());
    let now = FRAMES.stats().free + stats.reserved / memory::frame_size();
    ensure!(now == free, "{free} frames before, {now} after");
    ensure!(used >= 2, "only {used} bank was used");
    say!("  {most} regions in {used} of {banks} banks");
    Ok(Done::Ok)
}
