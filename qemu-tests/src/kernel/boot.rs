//! From the first call to the last: early heap, memory map, frames, heap,
//! cores, cases.

use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use granule::kernel::frames::{DirectMap, MapError, MemoryRange, PhysAddr};
use machine::memory::BootInfo;

use super::cases;
use super::heap::{self, BANKS, FRAMES, GLOBAL, answer};
use super::table::{self, Wish};
use super::text::say;
use super::{crew, exit};

machine::entry!(main);

static INFO: AtomicPtr<BootInfo> = AtomicPtr::new(null_mut());

/// Bytes of the early heap that are kept for ever.
pub(crate) static EARLY_KEPT: AtomicUsize = AtomicUsize::new(0);

/// Most ranges in the memory map.
const RANGES: usize = 24;

fn main(boot: &'static BootInfo) -> ! {
    INFO.store(core::ptr::from_ref(boot).cast_mut(), Ordering::Relaxed);
    EARLY_KEPT.store(GLOBAL.early().used_bytes(), Ordering::Relaxed);
    heap::present();
    cases::allocate_early();
    if let Err(error) = init_frames() {
        say!("no frames: {error}");
        machine::exit(exit::BOOT);
    }
    if let Err(error) = GLOBAL.open() {
        say!("no heap: {error}");
        machine::exit(exit::BOOT);
    }
    machine::trap::set_ipi_handler(answer);
    machine::cpu::enable();
    if crew::assemble().is_err() {
        say!("a core did not start");
        machine::exit(exit::BOOT);
    }
    say!(
        "granule on {}, {} cores, {} KiB pages, {}",
        ARCHITECTURE,
        crew::count(),
        frame_size() >> 10,
        FRAMES.stats(),
    );
    let counting = boot.argument("icount").is_some();
    let good = table::run(Wish { case: boot.argument("case"), counting });
    machine::exit(if good { exit::GOOD } else { exit::FAILED })
}

#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "aarch64";
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: &str = "riscv64";

/// Gives the frames the machine's memory map.
fn init_frames() -> Result<(), MapError> {
    let boot = info();
    let range = |range: &machine::memory::MemoryRange| (phys(range.start), range.bytes as u64);
    let usable = boot.ram().iter().map(range).map(|(at, len)| MemoryRange::usable(at, len));
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
    // SAFETY: `main` has stored a reference that lives for ever.
    unsafe { &*INFO.load(Ordering::Relaxed) }
}

/// Bytes of a frame: the machine's page.
pub(crate) fn frame_size() -> usize {
    machine::paging::page_size().bytes()
}

/// What the argument `seconds=` says.
pub(crate) fn seconds() -> Option<usize> {
    info().argument("seconds")?.parse().ok()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    machine::uart::print_urgently(format_args!("{info}\n"));
    machine::exit(exit::PANIC)
}
