//! Frames of a case's own: a piece of the machine's, given to a second frame
//! allocator, whose every frame must be there again at the end.

use core::ptr::NonNull;

use granule::Config;
use granule::kernel::frames::{
    DirectMap, FrameFlags, FramePages, FrameRun, Frames, MapError, MemoryRange, PhysAddr, Request,
};

use crate::kernel::case::ensure;
use crate::kernel::heap::{BANKS, FRAMES, Front, KernelEnv};
use crate::kernel::memory;
use crate::kernel::text::Text;

/// Frames of a case.
pub(crate) type CaseFrames = Frames<KernelEnv, BANKS>;

/// A heap over them.
#[derive(Debug)]
pub(crate) struct CaseConfig;

impl Config for CaseConfig {
    type Pages = FramePages<KernelEnv, BANKS>;
    type Front = Front;
    type Env = KernelEnv;
}

/// A case's heap.
pub(crate) type CaseHeap = granule::core_api::Heap<CaseConfig>;

/// Takes `bytes` of the machine's frames, which lie together.
pub(crate) fn piece(bytes: usize) -> Result<FrameRun, Text> {
    let frames = bytes.div_ceil(memory::frame_size());
    FRAMES.alloc(frames).map_err(|error| Text::of(format_args!("{frames} frames: {error}")))
}

/// The same at a multiple of `align` bytes, a power of two, for what depends on
/// how slabs lie in it.
pub(crate) fn aligned_piece(bytes: usize, align: u64) -> Result<FrameRun, Text> {
    let frames = bytes.div_ceil(memory::frame_size());
    FRAMES
        .alloc_with(Request::new(frames).aligned_to(align))
        .map_err(|error| Text::of(format_args!("{frames} frames at {align:#x}: {error}")))
}

/// Gives them back.
pub(crate) fn give_back(run: FrameRun) -> Result<(), Text> {
    // SAFETY: from `piece`, and no longer used.
    unsafe { FRAMES.free(run) }.map_err(|error| Text::of(format_args!("giving back: {error}")))
}

/// The bytes of a piece as a range.
pub(crate) fn range_of(run: FrameRun) -> MemoryRange {
    MemoryRange::usable(run.start, (run.frames * memory::frame_size()) as u64)
}

/// Sets frames up over ranges that lie in pieces.
///
/// # Safety
///
/// Caller: the ranges are the frames' for ever.
pub(crate) unsafe fn set_up(frames: &CaseFrames, map: &[MemoryRange]) -> Result<(), Text> {
    // SAFETY: by the contract; memory is mapped one to one.
    unsafe { frames.init(map, memory::frame_size(), DirectMap::identity()) }
        .map_err(|error| Text::of(format_args!("setting up: {error}")))
}

/// Memory maps that cannot be, and what is said of them.
pub(crate) fn bad_maps() -> Result<(), Text> {
    static NEVER: CaseFrames = Frames::new();
    let size = memory::frame_size() as u64;
    let at = |frame: u64| PhysAddr::new(machine::memory::RAM_START as u64 + frame * size);
    let init = |map: &[MemoryRange], frame_size| {
        // SAFETY: refused before anything is touched, as each call must be.
        unsafe { NEVER.init(map, frame_size, DirectMap::identity()) }
    };
    let usable = MemoryRange::usable;
    let (one, two) = (usable(at(0), 8 * size), usable(at(4), 8 * size));
    ensure!(
        init(&[one, two], size as usize) == Err(MapError::Overlap(two, one))
            || init(&[one, two], size as usize) == Err(MapError::Overlap(one, two)),
        "an overlap"
    );
    let empty = usable(at(0), 0);
    ensure!(init(&[empty], size as usize) == Err(MapError::Empty(empty)), "an empty range");
    let wraps = usable(PhysAddr::new(u64::MAX - size), 4 * size);
    ensure!(init(&[wraps], size as usize) == Err(MapError::Wraps(wraps)), "a range that wraps");
    ensure!(init(&[one], 5000) == Err(MapError::FrameSize(5000)), "frames of 5000 bytes");
    let nothing = [usable(PhysAddr::new(at(0).get() + 1), size)];
    ensure!(init(&nothing, size as usize) == Err(MapError::NothingUsable), "less than a frame");
    let hole = [one, MemoryRange::reserved(at(0), 8 * size)];
    ensure!(init(&hole, size as usize) == Err(MapError::NothingUsable), "all of it reserved");
    ensure!(init(&[], size as usize) == Err(MapError::NothingUsable), "an empty map");
    ensure!(NEVER.frame_size().is_none(), "a refused map was entered");
    let flags = FrameFlags::DMA | FrameFlags::SLOW;
    ensure!(one.with_flags(flags).flags.contains(flags), "flags");
    Ok(())
}

/// A heap that cannot be opened for lack of memory, and stays closed.
pub(crate) fn too_little_memory() -> Result<(), Text> {
    use granule::kernel::door::{KernelHeap, OpenError};
    static FEW: CaseFrames = Frames::new();
    static HEAP: KernelHeap<CaseConfig, 0> = KernelHeap::new(FramePages::new(&FEW), Front::new());
    ensure!(HEAP.open() == Err(OpenError::TooLittleMemory), "opened without frames");
    let run = piece(3 * memory::frame_size())?;
    // SAFETY: lost to the machine for good.
    unsafe { set_up(&FEW, &[range_of(run)]) }?;
    if memory::frame_size() == 4096 {
        ensure!(HEAP.open() == Err(OpenError::TooLittleMemory), "opened with three frames");
        ensure!(!HEAP.is_open(), "it says that it is open");
    }
    Ok(())
}

/// A CPU beyond the last has no cache, and works all the same.
pub(crate) fn no_such_cpu() -> Result<(), Text> {
    use core::alloc::Layout;
    use granule::cache::guarded::Guarded;
    use granule::core_api::heap::DrainError;
    use granule::kernel::cpu::{CpuLocal, KernelCpu, PerCpu};

    struct Nowhere;

    // SAFETY: there is no local, so no entry ever begins.
    unsafe impl KernelCpu for Nowhere {
        type Pin = ();

        fn pin() {}

        fn local() -> Option<&'static CpuLocal> {
            crate::kernel::heap::LOCALS.get(1000)
        }

        fn local_of(_cpu: usize) -> Option<&'static CpuLocal> {
            None
        }
    }

    struct Lost;

    impl Config for Lost {
        type Pages = FramePages<KernelEnv, BANKS>;
        type Front = Guarded<PerCpu<Nowhere>, KernelEnv, 2>;
        type Env = KernelEnv;
    }

    static HEAP: granule::core_api::Heap<Lost> =
        granule::core_api::Heap::new(FramePages::new(&FRAMES), Guarded::new());
    let layout = Layout::new::<[u64; 4]>();
    for _ in 0..100 {
        let Some(block) = NonNull::new(HEAP.alloc(layout)) else {
            return Err(Text::of(format_args!("no memory without a CPU")));
        };
        // SAFETY: just allocated.
        unsafe { HEAP.dealloc(block, layout) };
    }
    ensure!(HEAP.stats().cached_bytes == 0, "a CPU that is none has a cache");
    ensure!(HEAP.drain_cpu(2) == Err(DrainError::NoSuchCpu), "drained a CPU that is none");
    HEAP.reclaim();
    ensure!(HEAP.stats().live_bytes() == 0, "something was lost");
    Ok(())
}
