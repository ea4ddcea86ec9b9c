//! What the slow paths hand to CPUs.

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::vec::Vec;

use core::ptr::NonNull;

use crate::base::class::Class;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::arena::Arena;
use crate::check::surroundings::{TestConfig, migrate, unless_miri};
use crate::heap::OwnedHeap;
use crate::provider::Capabilities;

/// Bytes that CPUs take from each other at a time.
const LINE: usize = 64;

/// Two CPUs that allocate in turn, from the first object on.
#[test]
fn no_two_cpus_begin_in_the_same_cache_line() {
    let small =
        Class::all().filter(|class| class.size() < LINE && LINE.is_multiple_of(class.size()));
    for class in small {
        let arena = Arena::new(PAGE_SIZE, Capabilities::all(), 16 << 20).in_steps_of(8 << 20);
        let heap = OwnedHeap::<TestConfig>::new(arena, Guarded::new());
        let layout = Layout::from_size_align(class.size(), 8).expect("a layout");
        let mut lines = [BTreeSet::new(), BTreeSet::new()];
        for turn in 0..unless_miri(400, 40) {
            migrate(turn % 2);
            lines[turn % 2].insert(heap.alloc(layout).addr() / LINE);
        }
        assert!(lines[0].is_disjoint(&lines[1]), "objects of {} bytes", class.size());
    }
    migrate(0);
}

/// A block that one CPU hands to another, which frees it and goes on.
#[test]
fn what_a_cold_cpu_was_handed_is_not_what_it_hands_out_next() {
    for class in Class::all().filter(|class| class.size() < LINE) {
        let arena = Arena::new(PAGE_SIZE, Capabilities::all(), 16 << 20).in_steps_of(8 << 20);
        let heap = OwnedHeap::<TestConfig>::new(arena, Guarded::new());
        let layout = Layout::from_size_align(class.size(), 8).expect("a layout");
        migrate(0);
        let blocks: Vec<_> = (0..4).map(|_| heap.alloc(layout)).collect();
        let lines: BTreeSet<_> = blocks
            .iter()
            .flat_map(|block| [block.addr(), block.addr() + class.size() - 1])
            .map(|byte| byte / LINE)
            .collect();
        migrate(1);
        let handed = NonNull::new(blocks[1]).expect("a block");
        // SAFETY: live, of this layout.
        unsafe { heap.dealloc(handed, layout) };
        let next = heap.alloc(layout).addr();
        let ends = [next / LINE, (next + class.size() - 1) / LINE];
        assert!(ends.iter().all(|end| !lines.contains(end)), "objects of {} bytes", class.size());
        heap.check().expect("a whole heap");
    }
    migrate(0);
}
