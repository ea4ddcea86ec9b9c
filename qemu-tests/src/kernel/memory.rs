//! What the machine said at boot: memory, pages, arguments.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use granule::kernel::frames::{DirectMap, MapError, MemoryRange, PhysAddr};
use granule::provider::Node;
use machine::memory::BootInfo;

use super::heap::{BANKS, FRAMES};

/// Most ranges in the memory map.
const RANGES: usize = 24;

static INFO: AtomicPtr<BootInfo> = AtomicPtr::new(null_mut());

/// Keeps what the machine said: the first thing to be done.
pub(crate) fn keep(boot: &'static BootInfo) {
    INFO.store(core::ptr::from_ref(boot).cast_mut(), Ordering::Relaxed);
}

/// Gives the frames the machine's memory map.
pub(crate) fn init_frames() -> Result<(), MapError> {
    let boot = info();
    let range = |range: &machine::memory::MemoryRange| (phys(range.start), range.bytes as u64);
    let ram = boot.ram().iter().map(range).zip(boot.ram_nodes());
    let usable = ram.map(|((at, len), node)| MemoryRange::usable(at, len).on_node(Node(*node)));
    let taken = boot.reserved().iter().map(range).map(|(at, len)| MemoryRange::reserved(at, len));
    let mut map = [MemoryRange::reserved(phys(0), 0); RANGES];
    let mut entries = 0;
    for (place, entry) in map.iter_mut().zip(usable.chain(taken)) {
        *place = entry;
        entries += 1;
    }
    // SAFETY: the machine says what is RAM and what of it is taken, and maps
    // all of it one to one.
    unsafe { FRAMES.init(&map[..entries], frame_size(), DirectMap::identity()) }
}

/// Whether a second initialisation is refused as one.
pub(crate) fn init_is_refused() -> bool {
    init_frames() == Err(MapError::AlreadyInitialised) && FRAMES.banks().count() <= BANKS
}

/// A physical address.
pub(crate) fn phys(address: usize) -> PhysAddr {
    PhysAddr::new(address as u64)
}

fn info() -> &'static BootInfo {
    // SAFETY: `keep` has stored a reference that lives for ever.
    unsafe { &*INFO.load(Ordering::Relaxed) }
}

/// The node that the present core is near to.
pub(crate) fn node() -> Node {
    Node(info().cpu_node(machine::cpu::id()))
}

/// Bytes of a frame: the machine's page.
pub(crate) fn frame_size() -> usize {
    machine::paging::page_size().bytes()
}

/// What the argument `seconds=` says.
pub(crate) fn seconds() -> Option<usize> {
    info().argument("seconds")?.parse().ok()
}
