//! The slabs of one class that have free objects, by how full they are.
//!
//! A refill takes from the fullest slab, so that sparse ones run empty and go
//! back: four lists by quarters of occupancy decide, newest first in each.

use core::ptr::NonNull;

use super::header::Slab;

/// Number of lists: full slabs are in none, list 0 has the fullest.
const FILLS: usize = 4;

/// What the lock of a class guards. `S4` is kept here.
pub(crate) struct ClassSlabs {
    lists: [Option<NonNull<Slab>>; FILLS],
    /// Slabs of the class, full ones included.
    pub slabs: u32,
    /// Slabs in lists.
    pub partial: u32,
    /// Slabs ever made: the colour's turn.
    pub made: u32,
}

// SAFETY: the slabs are the heap's own and are reached under the lock.
unsafe impl Send for ClassSlabs {}

fn fill_of(slab: &Slab) -> u8 {
    let quarter = slab.free() as usize * FILLS / (slab.info().objects as usize + 1);
    quarter as u8
}

impl ClassSlabs {
    pub(crate) const fn new() -> Self {
        Self { lists: [None; FILLS], slabs: 0, partial: 0, made: 0 }
    }

    /// A slab of the fullest that have a free object.
    pub(crate) fn fullest(&self) -> Option<NonNull<Slab>> {
        self.lists.iter().find_map(|list| *list)
    }

    /// Enters a slab that has free objects and is in no list.
    ///
    /// # Safety
    ///
    /// Caller: the slab is alive, of this class, and there is no reference.
    pub(crate) unsafe fn link(&mut self, mut at: NonNull<Slab>) {
        // SAFETY: by the contract.
        let slab = unsafe { at.as_mut() };
        slab.fill = fill_of(slab);
        let list = &mut self.lists[usize::from(slab.fill)];
        slab.previous = None;
        slab.next = *list;
        if let Some(mut next) = *list {
            // SAFETY: S4, listed slabs are alive; under the lock.
            unsafe { next.as_mut() }.previous = Some(at);
        }
        *list = Some(at);
        self.partial += 1;
    }

    /// Takes a slab out of its list.
    ///
    /// # Safety
    ///
    /// Caller: the slab is in a list of this class; there is no reference.
    pub(crate) unsafe fn unlink(&mut self, at: NonNull<Slab>) {
        // SAFETY: by the contract.
        let slab = unsafe { at.as_ref() };
        let (next, previous) = (slab.next, slab.previous);
        match previous {
            // SAFETY: S4, listed slabs are alive; under the lock.
            Some(mut previous) => unsafe { previous.as_mut() }.next = next,
            None => self.lists[usize::from(slab.fill)] = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.previous = previous;
        }
        self.partial -= 1;
    }

    /// Puts a slab whose number of free objects changed where it belongs.
    ///
    /// # Safety
    ///
    /// Caller: `was_listed` is true exactly when the slab is in a list; it is
    /// alive and there is no reference.
    pub(crate) unsafe fn relink(&mut self, at: NonNull<Slab>, was_listed: bool) {
        // SAFETY: by the contract.
        let slab = unsafe { at.as_ref() };
        let (free, moves) = (slab.free(), fill_of(slab) != slab.fill);
        // SAFETY: by the contract.
        unsafe {
            if was_listed && (free == 0 || moves) {
                self.unlink(at);
            }
            if free > 0 && (!was_listed || moves) {
                self.link(at);
            }
        }
    }

    /// Objects free in slabs.
    pub(crate) fn free_objects(&self) -> usize {
        let mut free = 0;
        for list in self.lists {
            let mut at = list;
            while let Some(slab) = at {
                // SAFETY: S4, listed slabs are alive; under the lock.
                let slab = unsafe { slab.as_ref() };
                free += slab.free() as usize;
                at = slab.next;
            }
        }
        free
    }

    /// Shows each listed slab with its list.
    #[cfg(test)]
    pub(crate) fn for_each(&self, mut show: impl FnMut(&Slab, u8)) {
        for (fill, list) in self.lists.iter().enumerate() {
            let mut at = *list;
            while let Some(slab) = at {
                // SAFETY: S4, listed slabs are alive; under the lock.
                let slab = unsafe { slab.as_ref() };
                show(slab, fill as u8);
                at = slab.next;
            }
        }
    }

    /// Takes the first wholly free slab out of its list.
    pub(crate) fn take_empty(&mut self) -> Option<NonNull<Slab>> {
        let mut at = self.lists[FILLS - 1];
        while let Some(slab) = at {
            // SAFETY: S4, listed slabs are alive; under the lock.
            let (empty, next) = unsafe { (slab.as_ref().is_empty(), slab.as_ref().next) };
            if empty {
                // SAFETY: it is in a list.
                unsafe { self.unlink(slab) };
                self.slabs -= 1;
                return Some(slab);
            }
            at = next;
        }
        None
    }
}
