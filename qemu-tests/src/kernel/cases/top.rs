//! A heap that ends at the top of the address space.

use granule::Config;
use granule::core_api::Heap;
use granule::provider::NoPages;

use super::owned::{give_back, piece};
use crate::kernel::case::{Done, Outcome, ensure};
use crate::kernel::heap::{Front, KernelEnv};
use crate::kernel::text::{Text, say};

use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes at the top.
const BYTES: usize = 2 << 20;

struct AtTop;

impl Config for AtTop {
    type Pages = NoPages;
    type Front = Front;
    type Env = KernelEnv;
}

/// Never given memory a second time: what it has is unmapped afterwards.
static HEAP: Heap<AtTop> = Heap::new(NoPages, Front::new());

pub(crate) fn a_heap_at_the_top() -> Outcome {
    if HEAP.stats().regions > 0 {
        return Ok(Done::Skipped("once a boot"));
    }
    let run = piece(BYTES)?;
    let start = usize::try_from(run.start.get()).unwrap_or(0);
    // SAFETY: the piece is ours; the heap is not used afterwards.
    let done = unsafe { machine::paging::with_top_mapped(start, BYTES, use_it) };
    give_back(run)?;
    let (blocks, highest) = done?;
    say!("  {blocks} blocks, the highest ends {} bytes below the top", highest.wrapping_neg());
    Ok(Done::Ok)
}

/// The number of blocks that there was room for, and the end of the highest.
fn use_it(start: *mut u8) -> Result<(usize, usize), Text> {
    let Some(start) = NonNull::new(start) else {
        return Err(Text::of(format_args!("nothing was mapped")));
    };
    ensure!(start.addr().get().wrapping_add(BYTES) == 0, "it does not end at the top");
    // SAFETY: mapped, and the heap's as long as it is used.
    let added = unsafe { HEAP.add_region(start, BYTES) };
    ensure!(added.is_ok(), "the region was refused");
    let mut total = 0;
    let mut highest = 0;
    for size in [100 << 10, 4096, 1024, 48] {
        let layout = Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u64>());
        let mut last: Option<NonNull<u8>> = None;
        let mut count = 0;
        while let Some(block) = NonNull::new(HEAP.alloc(layout)) {
            // SAFETY: ours, of that size. The first word links to the last block.
            unsafe {
                block.write_bytes(0xa5, size);
                block.cast::<Option<NonNull<u8>>>().write(last);
            }
            let end = block.addr().get().wrapping_add(size);
            ensure!(end != 0, "a block ends where the next address is 0");
            highest = highest.max(end);
            last = Some(block);
            count += 1;
        }
        ensure!(count * size > BYTES / 2, "only {count} blocks of {size} bytes");
        total += count;
        while let Some(block) = last {
            // SAFETY: live, of that layout, linked above.
            unsafe {
                let rest = block.add(size - 1).read();
                ensure!(rest == 0xa5, "somebody wrote to a block of {size} bytes");
                last = block.cast::<Option<NonNull<u8>>>().read();
                HEAP.dealloc(block, layout);
            }
        }
        HEAP.reclaim();
        ensure!(HEAP.stats().live_bytes() == 0, "blocks of {size} bytes were lost");
    }
    ensure!(highest > usize::MAX - (64 << 10), "the top was not used");
    Ok((total, highest))
}
