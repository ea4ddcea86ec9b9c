//! Providers that hand out something else than was asked for.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::sync::Mutex;
use std::vec::Vec;

use crate::base::config::Config;
use crate::base::units::PAGE_SIZE;
use crate::cache::guarded::Guarded;
use crate::check::surroundings::{TestCpu, TestEnv, for_ever};
use crate::heap::Heap;
use crate::provider::{Capabilities, Capped, PageProvider, ProviderError, Reservation};

/// What is wrong with a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing of what was asked for.
    Empty,
    /// A page too little.
    Short,
    /// As much, from the middle of a page on.
    Askew,
    /// A part of a page at its end.
    Ragged,
}

/// Lies about reservations after the first `honest` ones.
struct Liar {
    lie: Lie,
    honest: usize,
    given: Mutex<Vec<Reservation>>,
}

// SAFETY: reservations are memory of the host's for ever, under the lock.
unsafe impl Sync for Liar {}

impl Liar {
    fn new(lie: Lie, honest: usize) -> Self {
        Self { lie, honest, given: Mutex::default() }
    }

    /// Reservations handed out, ever.
    fn count(&self) -> usize {
        self.given.lock().expect("nobody panics while holding it").len()
    }
}

// SAFETY: all of the memory is usable, whatever is said of it; what is released was given.
unsafe impl PageProvider for Liar {
    fn page_size(&self) -> usize {
        PAGE_SIZE
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::RELEASE
    }

    fn suggest(&self, needed: usize, _: usize) -> usize {
        needed.max(LARGE.size() * 2)
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        let layout = Layout::from_size_align(bytes + PAGE_SIZE, PAGE_SIZE);
        // SAFETY: not empty.
        let memory = unsafe { std::alloc::alloc(layout.map_err(|_| ProviderError)?) };
        let whole = NonNull::new(memory).ok_or(ProviderError)?;
        for_ever(memory);
        let mut given = self.given.lock().expect("nobody panics while holding it");
        let lie = (given.len() >= self.honest).then_some(self.lie);
        let (skip, bytes) = match lie {
            None => (0, bytes),
            Some(Lie::Empty) => (0, 0),
            Some(Lie::Short) => (0, bytes - PAGE_SIZE),
            Some(Lie::Askew) => (PAGE_SIZE / 2, bytes),
            Some(Lie::Ragged) => (0, bytes + PAGE_SIZE / 2),
        };
        // SAFETY: there is a page more than was asked for.
        let reservation = Reservation { start: unsafe { whole.add(skip) }, bytes };
        given.push(reservation);
        Ok(reservation)
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let given = self.given.lock().expect("nobody panics while holding it");
        assert!(given.contains(&reservation), "as it was given");
        Ok(())
    }
}

struct OfALiar;

impl Config for OfALiar {
    type Pages = &'static Capped<Liar>;
    type Front = Guarded<TestCpu, TestEnv, 2>;
    type Env = TestEnv;
}

const LARGE: Layout = Layout::new::<[u64; 20_000]>();

#[test]
fn what_is_not_as_asked_for_counts_as_refused() {
    for lie in [Lie::Empty, Lie::Short, Lie::Askew, Lie::Ragged] {
        for honest in [0, 1] {
            let pages: &'static Capped<Liar> =
                for_ever(Capped::new(Liar::new(lie, honest), 64 << 20).expect("enough"));
            let heap = for_ever(Heap::<OfALiar>::new(pages, Guarded::new()));
            let take = || NonNull::new(heap.alloc(LARGE));
            let blocks: Vec<_> = core::iter::from_fn(take).collect();
            assert_eq!(blocks.is_empty(), honest == 0, "{lie:?}");
            let given = pages.inner().count();
            assert!(take().is_none());
            let asked = pages.inner().count() - given;
            assert!(asked <= 50, "{asked} times: {lie:?}");
            heap.check().expect("a whole heap");
            for block in blocks {
                // SAFETY: live, of this layout.
                unsafe { heap.dealloc(block, LARGE) };
            }
            assert_eq!(pages.held(), heap.stats().reserved, "of lies nothing is held: {lie:?}");
        }
    }
}
