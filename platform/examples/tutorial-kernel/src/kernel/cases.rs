//! The tests: the conformance suites, then those that the tutorial ends its
//! chapters on the heap with.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use granule::base::sync::Lock;
use granule::core_api::check::conformance;
use granule::kernel::door::OpenError;
use granule::kernel::interrupts::Masked;
use granule::kernel::x86_64::InterruptFlag;
use x86_64::instructions::interrupts;

use super::heap::{Front, GLOBAL, KernelEnv};
use super::interrupted::interrupt_handler_allocates;
use super::memory::MEMORY;
use super::pages::HeapPages;
use super::serial::{print, say};

/// What a case says: nothing, or what should have been so.
pub(crate) type Verdict = Result<(), &'static str>;

/// A case.
type Case = fn() -> Verdict;

/// The size of the tutorial's heap.
const HEAP_SIZE: usize = 100 * 1024;

/// In this order: `heap_opens_once` parts those of the early heap from the
/// rest.
const CASES: [(&str, Case); 12] = [
    ("interrupts_are_masked_and_restored", interrupts_are_masked_and_restored),
    ("provider_conforms", provider_conforms),
    ("front_end_conforms", front_end_conforms),
    ("early_heap_serves", early_heap_serves),
    ("heap_opens_once", heap_opens_once),
    ("simple_allocation", simple_allocation),
    ("large_vec", large_vec),
    ("many_boxes", many_boxes),
    ("many_boxes_long_lived", many_boxes_long_lived),
    ("too_much_is_refused", too_much_is_refused),
    ("frames_go_back", frames_go_back),
    ("interrupt_handler_allocates", interrupt_handler_allocates),
];

/// Runs all cases; how many failed.
pub(crate) fn run() -> usize {
    let mut failed = 0;
    for (name, case) in CASES {
        print(format_args!("case {name} ... "));
        match case() {
            Ok(()) => say!("ok"),
            Err(what) => {
                failed += 1;
                say!("FAILED: {what}");
            }
        }
    }
    say!("{} passed, {failed} failed", CASES.len() - failed);
    failed
}

/// Whether it holds, as a verdict.
pub(crate) fn ensure(holds: bool, what: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(what) }
}

fn interrupts_are_masked_and_restored() -> Verdict {
    interrupts::enable();
    let outer = Masked::<InterruptFlag>::new();
    ensure(!interrupts::are_enabled(), "masked")?;
    drop(Masked::<InterruptFlag>::new());
    ensure(!interrupts::are_enabled(), "still masked after an inner scope")?;
    drop(outer);
    ensure(interrupts::are_enabled(), "enabled as before")
}

fn provider_conforms() -> Verdict {
    let report = conformance::page_provider(&HeapPages).map_err(|failure| failure.duty())?;
    ensure(report.refusals == 0, "nothing is refused")
}

fn front_end_conforms() -> Verdict {
    static FRONT: Front = Front::new();
    let bench = Box::leak(Box::<conformance::Bench<KernelEnv>>::default());
    let report = conformance::front_end(&FRONT, bench).map_err(|failure| failure.duty())?;
    ensure(report.refusals == 0, "nothing is refused")
}

/// A block from before the heap was opened.
static EARLY: Lock<Option<Box<[u8]>>, KernelEnv> = Lock::new(None);

fn early_heap_serves() -> Verdict {
    let block = vec![5; 1000].into_boxed_slice();
    ensure(GLOBAL.early().owns(block.as_ptr()), "a block of the early heap")?;
    *EARLY.lock() = Some(block);
    Ok(())
}

fn heap_opens_once() -> Verdict {
    GLOBAL.open().map_err(|_| "the heap opens")?;
    ensure(GLOBAL.open() == Err(OpenError::AlreadyOpen), "once")?;
    let early = EARLY.lock().take().ok_or("kept")?;
    ensure(early.iter().all(|byte| *byte == 5), "early blocks keep their contents")?;
    ensure(!GLOBAL.early().owns((&raw const *Box::new(0)).cast()), "new blocks are granule's")
}

fn simple_allocation() -> Verdict {
    let (one, other) = (Box::new(41), Box::new(13));
    ensure(*one == 41 && *other == 13, "boxes hold what was put in")
}

fn large_vec() -> Verdict {
    let count = 1000;
    let numbers: Vec<u64> = (0..count).collect();
    ensure(numbers.iter().sum::<u64>() == (count - 1) * count / 2, "the sum of all")
}

fn many_boxes() -> Verdict {
    (0..HEAP_SIZE).try_for_each(|i| ensure(*Box::new(i) == i, "a box holds what was put in"))
}

fn many_boxes_long_lived() -> Verdict {
    let long_lived = Box::new(1);
    many_boxes()?;
    ensure(*long_lived == 1, "the long-lived box is as it was")
}

fn too_much_is_refused() -> Verdict {
    let mut bytes = Vec::<u8>::new();
    // More than the machine has, by far less than the addresses there are.
    ensure(bytes.try_reserve_exact(2 << 30).is_err(), "no memory, no block")?;
    simple_allocation()?;
    bytes.try_reserve_exact(8 << 20).map_err(|_| "what there is can still be had")
}

fn frames_available() -> usize {
    MEMORY.lock().as_ref().map_or(0, |memory| memory.frames.available())
}

fn frames_go_back() -> Verdict {
    GLOBAL.heap().reclaim();
    let before = frames_available();
    let large = vec![1_u8; 16 << 20];
    ensure(frames_available() <= before - (16 << 20) / 4096, "frames are taken")?;
    drop(large);
    GLOBAL.heap().reclaim();
    ensure(frames_available() >= before - 16, "and come back, but for page tables")
}
