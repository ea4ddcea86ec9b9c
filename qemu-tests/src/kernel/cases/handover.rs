//! From the early heap to granule, and what stands on `#[global_allocator]`.

use alloc::alloc::{GlobalAlloc, Layout};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use granule::kernel::door::OpenError;
use spin::mutex::SpinMutex;

use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::crew;
use crate::kernel::heap::GLOBAL;
use crate::kernel::memory;

/// What was allocated before the memory map was known.
struct Early {
    numbers: Vec<u64>,
    text: String,
    boxed: Box<[u8; 100]>,
}

static EARLY: SpinMutex<Option<Early>> = SpinMutex::new(None);

/// Allocates with nothing but the early heap: to be called at boot.
pub(crate) fn allocate_early() {
    let early = Early {
        numbers: (0..50).collect(),
        text: "before the memory map".to_string(),
        boxed: Box::new([7; 100]),
    };
    *EARLY.lock() = Some(early);
}

pub(crate) fn early_blocks_live_on() -> Outcome {
    let Some(mut early) = EARLY.lock().take() else {
        return Ok(Done::Skipped("once a boot"));
    };
    let is_early = |pointer: *const u8| GLOBAL.early().owns(pointer);
    ensure!(is_early(early.numbers.as_ptr().cast()), "the vector was not early");
    ensure!(is_early(early.text.as_ptr()), "the string was not early");
    ensure!(is_early(early.boxed.as_ptr()), "the box was not early");
    // Growing moves them over.
    early.numbers.extend(50..1000);
    early.text.push_str(&", and after it".repeat(20));
    ensure!(!is_early(early.numbers.as_ptr().cast()), "the vector did not move");
    ensure!(early.numbers.iter().copied().eq(0..1000), "the vector lost something");
    ensure!(early.text.starts_with("before the memory map, and"), "the string lost something");
    ensure!(early.boxed.iter().all(|&byte| byte == 7), "the box lost something");
    drop(early);
    let left = GLOBAL.early().used_bytes();
    ensure!(left == 0, "{left} bytes of the early heap were not freed");
    let late = Box::new(1u64);
    ensure!(!is_early(core::ptr::from_ref(&*late).cast()), "still early");
    Ok(Done::Ok)
}

pub(crate) fn collections() -> Outcome {
    GLOBAL.heap().reclaim();
    let before = GLOBAL.heap().stats().live_bytes();
    {
        let boxed: Vec<Box<u64>> = (0..2_000).map(Box::new).collect();
        ensure!(boxed.iter().map(|number| **number).sum::<u64>() == 1_999_000, "boxes");
        let mut map = BTreeMap::new();
        for key in 0..3_000u32 {
            map.insert(key.wrapping_mul(2_654_435_761), key.to_string());
        }
        ensure!(map.len() == 3_000 && map.values().any(|text| text == "2999"), "map");
        map.retain(|key, _| key % 3 == 0);
        let mut grown = Vec::new();
        for number in 0..200_000u32 {
            grown.push(number);
        }
        ensure!(grown[199_999] == 199_999, "vector");
        let shared = Arc::new(SpinMutex::new(Vec::new()));
        SHARED.lock().replace(Arc::clone(&shared));
        crew::run(crew::count(), |core| {
            let shared = SHARED.lock().clone();
            if let Some(shared) = shared {
                (0..100).for_each(|turn| shared.lock().push(core * 1000 + turn));
            }
        });
        SHARED.lock().take();
        ensure!(Arc::strong_count(&shared) == 1, "a core kept its handle");
        ensure!(shared.lock().len() == 100 * crew::count(), "a core's numbers are missing");
        let zeroed = Layout::from_size_align(300 << 10, 4096).unwrap_or(Layout::new::<u64>());
        // SAFETY: the size is not 0; read while it is ours; freed once.
        let zero = unsafe {
            let block = GLOBAL.alloc_zeroed(zeroed);
            ensure!(!block.is_null(), "no memory");
            let bytes = core::slice::from_raw_parts(block, zeroed.size());
            let zero = bytes.iter().all(|&byte| byte == 0);
            GLOBAL.dealloc(block, zeroed);
            zero
        };
        ensure!(zero, "zeroed memory is not zero");
    }
    GLOBAL.heap().reclaim();
    let after = GLOBAL.heap().stats().live_bytes();
    ensure!(after == before, "{before} bytes were live before, {after} after");
    Ok(Done::Ok)
}

static SHARED: SpinMutex<Option<Arc<SpinMutex<Vec<usize>>>>> = SpinMutex::new(None);

pub(crate) fn bad_input_is_named() -> Outcome {
    ensure!(GLOBAL.open() == Err(OpenError::AlreadyOpen), "opened twice");
    ensure!(memory::init_is_refused(), "frames were set up twice, or refused for another reason");
    super::owned::bad_maps()?;
    super::owned::too_little_memory()?;
    super::owned::no_such_cpu()?;
    Ok(Done::Ok)
}
