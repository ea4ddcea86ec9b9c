//! Reserves: all or nothing, each block once, nothing lost.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestConfig, cases, for_ever, unless_miri};
use crate::provider::Capabilities;

fn heap() -> &'static Heap<TestConfig> {
    let arena = Arena::new(4096, Capabilities::all(), unless_miri(256, 16) << 20);
    for_ever(Heap::new(arena, Guarded::new()))
}

fn free(heap: &Heap<TestConfig>, block: NonNull<u8>, layout: Layout) {
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, layout) };
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn what_was_set_aside_is_there(
        size in prop_oneof![1usize..2000, 30_000usize..200_000],
        count in 0..unless_miri(300, 20),
        taken in 0..unless_miri(300, 20),
        again in 0..unless_miri(400, 24),
    ) {
        let heap = heap();
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let mut reserve = heap.prefill(layout, count).expect("memory");
        prop_assert_eq!(reserve.len(), count);
        heap.provider().refuse(Refuse::Commit);
        let blocks: Vec<_> = (0..taken).map_while(|_| reserve.take()).collect();
        heap.provider().refuse(Refuse::Nothing);
        prop_assert_eq!(blocks.len(), taken.min(count));
        prop_assert_eq!(reserve.is_empty(), taken >= count);
        prop_assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), blocks.len());
        for block in &blocks {
            // SAFETY: live, of that size.
            unsafe { block.write_bytes(0xa5, size) };
        }
        reserve.fill(again).expect("memory");
        prop_assert_eq!(reserve.len(), again.max(count - blocks.len()));
        blocks.into_iter().for_each(|block| free(heap, block, layout));
        drop(reserve);
        heap.reclaim();
        heap.check().expect("a whole heap");
        prop_assert_eq!(heap.stats().live_bytes(), 0);
    }
}

#[test]
fn a_reserve_that_cannot_be_filled_sets_nothing_aside() {
    let heap = heap();
    let layout = Layout::new::<[u64; 100_000]>();
    assert!(heap.prefill(layout, 1_000).is_err());
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0);
    assert!(heap.prefill(layout, 3).is_ok_and(|reserve| reserve.len() == 3));
}
