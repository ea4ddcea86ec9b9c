//! Page frames: any memory map, and what it makes usable.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use granule::HostEnv;
use granule::kernel::frames::{
    DirectMap, FrameFlags, FrameRun, Frames, MemoryRange, PhysAddr, Request,
};

/// A memory map, and requests.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    /// Frames of 4, 16 or 64 KiB.
    frame_size: u8,
    map: Vec<Range>,
    actions: Vec<Action>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Range {
    start: u32,
    bytes: u32,
    reserved: bool,
    flags: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Alloc { frames: u8, align: u8, wants: u8, avoids: u8 },
    Free(u8),
    ReserveRange { start: u32, bytes: u16 },
    Add(Range),
}

/// Memory of the machine, half of it below 4 GiB.
const MEMORY: u32 = 4 << 20;
const BASE: u64 = (1 << 32) - MEMORY as u64 / 2;
const ALIGN: usize = 64 << 10;

impl Range {
    /// Bounds that may lie anywhere in the machine's memory, or be empty.
    fn bounds(self) -> (u64, u64) {
        let start = self.start % MEMORY;
        (BASE + u64::from(start), u64::from(self.bytes % (MEMORY - start + 1)))
    }

    fn memory(self) -> MemoryRange {
        let (start, bytes) = self.bounds();
        let start = PhysAddr::new(start);
        if self.reserved {
            MemoryRange::reserved(start, bytes)
        } else {
            MemoryRange::usable(start, bytes).with_flags(flags(self.flags))
        }
    }

    fn has(self, address: u64) -> bool {
        let (start, bytes) = self.bounds();
        address.wrapping_sub(start) < bytes
    }
}

fn flags(bits: u8) -> FrameFlags {
    FrameFlags::from_bits_truncate(u32::from(bits)) & !FrameFlags::BELOW_4G
}

/// The machine's memory, as long as this exists.
struct Machine {
    memory: *mut u8,
    layout: Layout,
}

impl Machine {
    fn new() -> Self {
        let layout = Layout::from_size_align(MEMORY as usize, ALIGN).expect("a layout");
        // SAFETY: not empty.
        let memory = unsafe { alloc(layout) };
        assert!(!memory.is_null(), "memory for the machine");
        Self { memory, layout }
    }

    fn direct(&self) -> DirectMap {
        DirectMap::with_offset(self.memory.expose_provenance().wrapping_sub(BASE as usize))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.memory, self.layout) };
    }
}

/// Runs a program; every failure is a panic.
pub fn run(program: &Program) {
    let machine = Machine::new();
    let frames: Frames<HostEnv, 8> = Frames::new();
    let size = 4096 << (2 * (program.frame_size % 3));
    let map: Vec<_> = program.map.iter().map(|range| range.memory()).collect();
    // SAFETY: all ranges lie inside the machine's memory, which is the
    // frames' as long as they exist.
    if unsafe { frames.init(&map, size, machine.direct()) }.is_err() {
        assert_eq!(frames.stats().frames, 0, "a map that is refused leaves nothing");
        return;
    }
    let mut world = World { usable: program.map.clone(), out: BTreeMap::new(), size, frames };
    for &action in &program.actions {
        world.act(action);
        world.check();
    }
    let runs: Vec<_> = world.out.values().copied().collect();
    for run in runs {
        world.free(run);
    }
    let stats = world.frames.stats();
    assert_eq!(stats.free, stats.frames, "all are free again");
}

struct World {
    usable: Vec<Range>,
    out: BTreeMap<u64, FrameRun>,
    size: usize,
    frames: Frames<HostEnv, 8>,
}

impl World {
    fn act(&mut self, action: Action) {
        match action {
            Action::Alloc { frames, align, wants, avoids } => {
                let align = 1 << (align % 22);
                let request = Request::new(frames.into()).aligned_to(align);
                let request = request.wanting(flags(wants)).avoiding(flags(avoids));
                if let Ok(run) = self.frames.alloc_with(request) {
                    assert_eq!(run.frames, usize::from(frames));
                    assert!(run.start.get().is_multiple_of(align), "aligned");
                    self.enter(run);
                }
            }
            Action::Free(number) => {
                let number = usize::from(number).checked_rem(self.out.len());
                if let Some(run) = number.and_then(|number| self.out.values().nth(number)) {
                    self.free(*run);
                }
            }
            Action::ReserveRange { start, bytes } => {
                let start = PhysAddr::new(BASE + u64::from(start % MEMORY));
                if let Ok(run) = self.frames.reserve_range(start, bytes.into()) {
                    self.enter(run);
                }
            }
            Action::Add(range) => {
                // Whatever was reserved by the map must not come back so.
                let clear = !self.usable.iter().any(|old| old.reserved && meet(*old, range));
                // SAFETY: inside the machine's memory, and nobody's.
                if clear && unsafe { self.frames.add(range.memory()) }.is_ok() {
                    self.usable.push(range);
                }
            }
        }
    }

    /// A run that came: of usable frames that nobody has. All of it is written.
    fn enter(&mut self, run: FrameRun) {
        let (start, bytes) = (run.start.get(), run.frames * self.size);
        let end = start + bytes as u64;
        let before = self.out.range(..end).next_back();
        let apart = before.is_none_or(|(at, old)| at + (old.frames * self.size) as u64 <= start);
        assert!(apart, "{run:?} is somebody's");
        for address in [start, end - 1, start + bytes as u64 / 2] {
            let of = |reserved| {
                self.usable.iter().any(|range| range.reserved == reserved && range.has(address))
            };
            assert!(of(false) && !of(true), "{address:#x} is not usable");
        }
        let memory = self.frames.direct_map().pointer(run.start).expect("mapped");
        // SAFETY: the run is ours.
        unsafe { memory.write_bytes(0xdb, bytes) };
        self.out.insert(start, run);
    }

    fn free(&mut self, run: FrameRun) {
        self.out.remove(&run.start.get());
        // SAFETY: out, and nobody uses it.
        unsafe { self.frames.free(run) }.expect("a run that is out");
        // SAFETY: the check for what is free already is what is tried.
        assert!(unsafe { self.frames.free(run) }.is_err(), "freed twice");
    }

    fn check(&self) {
        let stats = self.frames.stats();
        let out: usize = self.out.values().map(|run| run.frames).sum();
        assert_eq!(stats.free + out, stats.frames, "each frame is free or out");
        assert!(stats.longest <= stats.free);
    }
}

fn meet(one: Range, other: Range) -> bool {
    let ((a, long), (b, wide)) = (one.bounds(), other.bounds());
    a < b + wide && b < a + long
}
