//! Blocks set aside beforehand, for a path that must not fail.
//!
//! After the prefilled sheaves of Linux's slab allocator (`prefill_sheaf`): the
//! memory is taken where waiting and failing are allowed, and spent where
//! neither is.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::Heap;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::fault::OutOfMemory;
use crate::cache::list::SheafList;
use crate::cache::sheaf::{ORDERS, Sheaf, words};

/// Blocks of one layout that are already allocated: taking one out is a few
/// loads and stores, without a lock, on any CPU, in any context. Those that
/// are left go back to the heap when the reserve is dropped.
///
/// Made by [`Heap::prefill`]. Every block taken out is freed as any other.
///
/// ```
/// # use granule_core as granule;
/// # fn path<C: granule::Config>(heap: &granule::Heap<C>) -> Option<()> {
/// use core::alloc::Layout;
/// let request = Layout::new::<[u64; 4]>();
/// let mut reserve = heap.prefill(request, 2).ok()?;
/// // ... under a lock, with interrupts masked:
/// let first = reserve.take().expect("two are there");
/// # unsafe { heap.dealloc(first, request) };
/// # Some(())
/// # }
/// ```
#[must_use = "a reserve that is dropped gives its blocks back"]
pub struct Reserve<'heap, C: Config> {
    heap: &'heap Heap<C>,
    layout: Layout,
    /// Where the next block comes from.
    current: Option<Sheaf>,
    /// Full ones.
    full: SheafList,
    /// Empty ones, kept so that taking a block needs no lock.
    empty: SheafList,
    len: usize,
}

// SAFETY: the sheaves are the reserve's alone (C1), and go where it goes.
unsafe impl<C: Config> Send for Reserve<'_, C> {}

impl<C: Config> core::fmt::Debug for Reserve<'_, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reserve")
            .field("layout", &self.layout)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Blocks that a sheaf of `order` holds here.
fn room(order: u8) -> usize {
    words(order) - 2
}

/// The smallest order that holds `count`, or the largest there is. Never 0,
/// whose capacity depends on the class.
fn order_for(count: usize) -> u8 {
    (1..ORDERS as u8).find(|&order| room(order) >= count).unwrap_or(ORDERS as u8 - 1)
}

impl<C: Config> Heap<C> {
    /// Sets `count` blocks of `layout` aside. May wait, as
    /// [`alloc`](Self::alloc) may.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when not all can be had; none is then set aside.
    pub fn prefill(&self, layout: Layout, count: usize) -> Result<Reserve<'_, C>, OutOfMemory> {
        let mut reserve = Reserve {
            heap: self,
            layout,
            current: None,
            full: SheafList::new(),
            empty: SheafList::new(),
            len: 0,
        };
        reserve.fill(count)?;
        Ok(reserve)
    }
}

impl<C: Config> Reserve<'_, C> {
    /// Blocks left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The layout of every block.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes a block out; `None` when none is left. Never waits.
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        if let Some(block) = self.current.as_mut().and_then(Sheaf::pop) {
            self.len -= 1;
            return Some(block);
        }
        let next = self.full.pop(room)?;
        if let Some(spent) = self.current.replace(next) {
            self.empty.push(spent);
        }
        self.take()
    }

    /// Fills up to `count` blocks. May wait, as [`Heap::alloc`] may.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when not all can be had; those that could be are kept.
    pub fn fill(&mut self, count: usize) -> Result<(), OutOfMemory> {
        while self.len < count {
            let block = NonNull::new(self.heap.alloc(self.layout)).ok_or(OutOfMemory)?;
            if let Err(block) = self.put(block, count) {
                // SAFETY: just allocated.
                unsafe { self.heap.dealloc(block, self.layout) };
                return Err(OutOfMemory);
            }
        }
        Ok(())
    }

    /// Puts a block in; gives it back when there is no sheaf for it.
    fn put(&mut self, block: NonNull<u8>, count: usize) -> Result<(), NonNull<u8>> {
        let full = |sheaf: &Sheaf| sheaf.len() == room(sheaf.order());
        if self.current.as_ref().is_none_or(full) {
            let Some(sheaf) = self.empty_sheaf(count - self.len) else { return Err(block) };
            if let Some(full) = self.current.replace(sheaf) {
                self.full.push(full);
            }
        }
        if let Some(sheaf) = &mut self.current {
            sheaf.push(block);
            self.len += 1;
        }
        Ok(())
    }

    fn empty_sheaf(&mut self, count: usize) -> Option<Sheaf> {
        let lower = &self.heap.lower;
        let new = |order| {
            self.heap.cache.pool.sheaf(&lower.regions, &lower.provider, Class::LARGE, order)
        };
        self.empty.pop(|_| 0).or_else(|| new(order_for(count)))
    }
}

impl<C: Config> Drop for Reserve<'_, C> {
    fn drop(&mut self) {
        while let Some(block) = self.take() {
            // SAFETY: allocated with this layout, and never handed out.
            unsafe { self.heap.dealloc(block, self.layout) };
        }
        let spent = self.current.take().into_iter();
        let more = core::iter::from_fn(|| self.empty.pop(|_| 0));
        spent.chain(more).for_each(|sheaf| self.heap.cache.pool.give(sheaf));
    }
}

#[cfg(test)]
#[path = "reserve_tests.rs"]
mod tests;
