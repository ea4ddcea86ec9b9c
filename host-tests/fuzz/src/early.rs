//! The heap of a kernel's first instructions, in 16 KiB.

use std::alloc::Layout;
use std::ptr::NonNull;

use arbitrary::Arbitrary;
use granule::kernel::early::EarlyHeap;
use granule_host_tests::model::fixtures::FastClock;

/// A program.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program(Vec<Action>);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Alloc(u16, u8),
    Free(u8),
}

const BYTES: usize = 16 << 10;

struct Block {
    start: NonNull<u8>,
    layout: Layout,
    value: u8,
}

/// Runs a program; every failure is a panic.
pub fn run(program: &Program) {
    let heap = Box::new(EarlyHeap::<FastClock, BYTES>::new());
    let mut live: Vec<Block> = Vec::new();
    let free = |block: Block| {
        let Block { start, layout, value } = block;
        // SAFETY: live, and as long as the layout says.
        let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == value), "{layout:?} is not as it was");
        // SAFETY: live, of that layout, freed once.
        unsafe { heap.dealloc(start, layout) };
    };
    for (number, &action) in program.0.iter().enumerate() {
        match action {
            Action::Alloc(size, shift) => {
                let layout = Layout::from_size_align(usize::from(size % 4096), 1 << (shift % 13))
                    .expect("a layout");
                let Some(start) = NonNull::new(heap.alloc(layout)) else { continue };
                assert!(start.addr().get().is_multiple_of(layout.align()), "aligned");
                // SAFETY: just one byte on, at the end of the block.
                let last = unsafe { start.add(layout.size() - 1) };
                assert!(heap.owns(start.as_ptr()) && heap.owns(last.as_ptr()), "inside");
                let value = number as u8;
                // SAFETY: the block is that long.
                unsafe { start.write_bytes(value, layout.size()) };
                live.push(Block { start, layout, value });
            }
            Action::Free(number) => {
                if let Some(number) = usize::from(number).checked_rem(live.len()) {
                    free(live.swap_remove(number));
                }
            }
        }
        let held: usize = live.iter().map(|block| block.layout.size()).sum();
        assert!((held..=BYTES).contains(&heap.used_bytes()), "{held} bytes are live");
    }
    live.drain(..).for_each(free);
    assert_eq!(heap.used_bytes(), 0, "nothing is lost");
}
