//! Heaps without caches: the CPU cannot be entered, so that every call reaches
//! the layer below. Small blocks are the slab layer's, others the region
//! engine's, whose runs merge, are split, grow where they are, and are purged
//! and released by a clock that jumps.

use std::alloc::Layout;

use arbitrary::Arbitrary;
use granule_core::cache::guarded::Cpu;
use granule_host_tests::model::{Fill, Free, Shadow};

use crate::owned::Owned;

/// A program for the slab layer: blocks of up to 32 KiB.
#[derive(Arbitrary, Clone, Debug)]
pub struct Small(Vec<Action<Slabbed>>);

/// A program for the region engine: blocks of whole pages.
#[derive(Arbitrary, Clone, Debug)]
pub struct Paged(Vec<Action<Pages>>);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action<S> {
    Alloc {
        size: S,
        shift: u8,
        zero: bool,
    },
    /// So many of one size, as slabs are filled.
    AllocMany(S, u8),
    Free(u16, bool),
    /// So many neighbours, by address.
    FreeMany(u16, u8),
    Realloc(u16, S),
    Reclaim,
    /// The provider refuses the call with this number from now.
    Refuse(u8),
    Relent,
    Check,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Slabbed(u16);

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Pages(u8, i8);

/// Sizes that only the layer under test serves.
trait Size: Copy {
    /// Alignments are below `1 << SHIFTS`.
    const SHIFTS: u8;

    fn bytes(self) -> usize;
}

impl Size for Slabbed {
    const SHIFTS: u8 = 13;

    fn bytes(self) -> usize {
        usize::from(self.0 & 0x7fff)
    }
}

impl Size for Pages {
    const SHIFTS: u8 = 22;

    fn bytes(self) -> usize {
        // From 36 KiB, a little more or less than so many pages.
        let pages = 9 + usize::from(self.0) * usize::from(self.0) / 32;
        (pages << 12).saturating_add_signed(isize::from(self.1))
    }
}

/// Nobody can enter: there is no cache.
#[derive(Clone, Copy, Debug)]
struct NoCpu;

// SAFETY: nothing is ever entered.
unsafe impl Cpu for NoCpu {
    type Guard = ();

    fn try_enter() -> Option<(usize, ())> {
        None
    }
}

/// Most bytes that the provider has.
const LIMIT: usize = 64 << 20;

/// Runs a program on the slab layer; every failure is a panic or an abort.
pub fn slabs(program: &Small) {
    play(&program.0);
}

/// The same on the region engine.
pub fn regions(program: &Paged) {
    play(&program.0);
}

fn play<S: Size>(actions: &[Action<S>]) {
    let owned = Owned::<NoCpu>::new(LIMIT);
    let heap = owned.heap();
    let mut shadow = Shadow::new(heap);
    let layout = |size: S, shift: u8| {
        Layout::from_size_align(size.bytes(), 1 << (shift % S::SHIFTS)).expect("a layout")
    };
    for &action in actions {
        match action {
            Action::Alloc { size, shift, zero } => {
                // Memory may be short, or refused.
                let fill = if zero { Fill::Zero } else { Fill::Any };
                shadow.alloc(layout(size, shift), fill);
            }
            Action::AllocMany(size, count) => {
                for _ in 0..count {
                    shadow.alloc(layout(size, 0), Fill::Any);
                }
            }
            Action::Free(number, sized) => {
                shadow.free(number.into(), if sized { Free::Sized } else { Free::Unsized });
            }
            Action::FreeMany(number, count) => {
                (0..count).for_each(|_| shadow.free(number.into(), Free::Sized));
            }
            Action::Realloc(number, size) => {
                shadow.realloc(number.into(), size.bytes());
            }
            Action::Reclaim => drop(heap.reclaim()),
            Action::Refuse(number) => heap.provider().pages.refuse(number.into()),
            Action::Relent => drop(heap.provider().pages.relent()),
            Action::Check => shadow.check_counts(),
        }
    }
    heap.provider().pages.relent();
    shadow.check_counts();
    assert_eq!(heap.stats().cached_bytes, 0, "there is no cache");
    shadow.free_all(actions.len());
    heap.reclaim();
    heap.check().expect("a whole heap");
    assert_eq!(heap.stats().live_bytes(), 0, "nothing is lost");
}
