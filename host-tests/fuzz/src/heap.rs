//! A whole heap against the shadow.

use std::alloc::Layout;

use arbitrary::Arbitrary;
use granule_core::cache::guarded::Cpu;
use granule_host_tests::model::fixtures::{HoppingCpus, OneCpu};
use granule_host_tests::model::{Fill, Free, Shadow};

use crate::owned::Owned;

/// A program.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    /// Whether threads hop over several CPUs, with refused entries.
    hops: bool,
    actions: Vec<Action>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Alloc(Size, u8, Way),
    Free(u16, Way),
    Realloc(u16, Size),
    /// Drains and gives back all there is.
    Reclaim,
    Drain(u8),
    /// The provider refuses the call with this number from now.
    Refuse(u8),
    Relent,
    /// Adds up, and walks the heap.
    Check,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Small(u8),
    Medium(u16),
    /// Around a power of two from 8 to 4 Mi: the edges of classes and slabs.
    Edge(u8, i8),
    Pages(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Way {
    Plain,
    Other,
    NoLock,
}

/// Most bytes that the provider has.
const LIMIT: usize = 64 << 20;

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::Small(bytes) => bytes.into(),
            Self::Medium(bytes) => bytes.into(),
            Self::Edge(shift, side) => {
                (8usize << (shift % 20)).saturating_add_signed(isize::from(side) / 16)
            }
            Self::Pages(pages) => usize::from(pages) << 12,
        }
    }
}

/// Runs a program; every failure is a panic or an abort.
pub fn run(program: &Program) {
    if program.hops {
        play::<HoppingCpus>(&program.actions);
    } else {
        play::<OneCpu>(&program.actions);
    }
}

fn play<K: Cpu>(actions: &[Action]) {
    let owned = Owned::<K>::new(LIMIT);
    let heap = owned.heap();
    let mut shadow = Shadow::new(heap);
    for &action in actions {
        match action {
            Action::Alloc(size, shift, way) => {
                let align = 1 << (shift % 14);
                let layout = Layout::from_size_align(size.bytes(), align).expect("a layout");
                // Memory may be short, or refused.
                shadow.alloc(layout, [Fill::Any, Fill::Zero, Fill::NoLock][way as usize]);
            }
            Action::Free(number, way) => {
                let how = [Free::Sized, Free::Unsized, Free::NoLock][way as usize];
                shadow.free(number.into(), how);
            }
            Action::Realloc(number, size) => {
                shadow.realloc(number.into(), size.bytes());
            }
            Action::Reclaim => drop(heap.reclaim()),
            // A number that is no CPU's, or one that is entered, is refused.
            Action::Drain(cpu) => drop(heap.drain_cpu(usize::from(cpu % 8))),
            Action::Refuse(number) => heap.provider().pages.refuse(number.into()),
            Action::Relent => drop(heap.provider().pages.relent()),
            Action::Check => {
                shadow.check_counts();
                heap.check().expect("a whole heap");
            }
        }
    }
    heap.provider().pages.relent();
    shadow.check_counts();
    shadow.free_all(actions.len());
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0, "nothing is lost");
}
