//! The slabs of one class that have free objects, by how full they are.
//!
//! A refill takes from the fullest slab, so that sparse ones run empty and go
//! back: four lists by quarters of occupancy decide, newest first in each.

use super::header::Slab;
use crate::base::class::Class;
use crate::base::violation::Violation;
use crate::provider::Node;

/// Number of lists: full slabs are in none, list 0 has the fullest.
const FILLS: usize = 4;

/// What the lock of a class guards. `S4` is kept here.
pub(crate) struct ClassSlabs {
    lists: [Option<Slab>; FILLS],
    /// Slabs of the class, full ones included.
    pub slabs: u32,
    /// Slabs in lists.
    pub partial: u32,
    /// Slabs ever made: the colour's turn.
    pub made: u32,
}

// SAFETY: the slabs are the heap's own and are reached under the lock.
unsafe impl Send for ClassSlabs {}

fn fill_of(slab: Slab) -> u8 {
    let quarter = slab.free() as usize * FILLS / (slab.info().objects as usize + 1);
    quarter as u8
}

impl ClassSlabs {
    pub(crate) const fn new() -> Self {
        Self { lists: [None; FILLS], slabs: 0, partial: 0, made: 0 }
    }

    /// A slab of the fullest that have a free object.
    pub(crate) fn fullest(&self) -> Option<Slab> {
        self.lists.iter().find_map(|list| *list)
    }

    /// Enters a slab that has free objects and is in no list.
    ///
    /// # Safety
    ///
    /// Caller: the slab is of this class, and its lock is held.
    pub(crate) unsafe fn link(&mut self, slab: Slab) {
        slab.set_fill(fill_of(slab));
        let list = &mut self.lists[usize::from(slab.fill())];
        slab.set_previous(None);
        slab.set_next(*list);
        if let Some(next) = *list {
            next.set_previous(Some(slab));
        }
        *list = Some(slab);
        self.partial += 1;
    }

    /// Takes a slab out of its list.
    ///
    /// # Safety
    ///
    /// Caller: the slab is in a list of this class.
    pub(crate) unsafe fn unlink(&mut self, slab: Slab) {
        let (next, previous) = (slab.next(), slab.previous());
        match previous {
            Some(previous) => previous.set_next(next),
            None => self.lists[usize::from(slab.fill())] = next,
        }
        if let Some(next) = next {
            next.set_previous(previous);
        }
        self.partial -= 1;
    }

    /// Puts a slab whose number of free objects changed where it belongs.
    ///
    /// # Safety
    ///
    /// Caller: the slab is of this class, and `was_listed` is true exactly
    /// when it is in a list.
    pub(crate) unsafe fn relink(&mut self, slab: Slab, was_listed: bool) {
        let (free, moves) = (slab.free(), fill_of(slab) != slab.fill());
        // SAFETY: by the contract.
        unsafe {
            if was_listed && (free == 0 || moves) {
                self.unlink(slab);
            }
            if free > 0 && (!was_listed || moves) {
                self.link(slab);
            }
        }
    }

    /// The slabs in one list. S4: they are alive.
    fn list(&self, fill: usize) -> impl Iterator<Item = Slab> {
        core::iter::successors(self.lists[fill], |slab| slab.next())
    }

    /// Objects free in slabs.
    pub(crate) fn free_objects(&self) -> usize {
        (0..FILLS).flat_map(|fill| self.list(fill)).map(|slab| slab.free() as usize).sum()
    }

    /// Verifies S4: each listed slab has free objects and is in the list of its
    /// fill, linked both ways, and they are as many as counted; and the slabs
    /// themselves.
    pub(crate) fn check(&self, class: Class, node: Node) -> Result<(), Violation> {
        let mut listed = 0;
        for fill in 0..FILLS {
            let mut before = None;
            for slab in self.list(fill) {
                let here = slab.run_start().addr().get();
                let ensure = |holds, found| Violation::unless(holds, "S4", found, here);
                listed += 1;
                ensure(listed <= self.partial, "more slabs in lists than counted, or a circle")?;
                let own = core::ptr::eq(slab.info(), class.info());
                ensure(own, "a slab in a list of another class")?;
                ensure(slab.node() == node, "a slab in a list of another node")?;
                ensure(slab.previous() == before, "a slab that is not linked back")?;
                let right = slab.free() > 0 && fill_of(slab) == slab.fill();
                ensure(right && usize::from(slab.fill()) == fill, "a slab in a wrong list")?;
                slab.check()?;
                before = Some(slab);
            }
        }
        let counted = listed == self.partial && self.partial <= self.slabs;
        Violation::unless(counted, "S4", "a slab with free objects that is in no list", 0)
    }

    /// Shows each listed slab with its list.
    #[cfg(test)]
    pub(crate) fn for_each(&self, mut show: impl FnMut(Slab, u8)) {
        for fill in 0..FILLS {
            self.list(fill).for_each(|slab| show(slab, fill as u8));
        }
    }

    /// Takes the first wholly free slab out of its list.
    pub(crate) fn take_empty(&mut self) -> Option<Slab> {
        let slab = self.list(FILLS - 1).find(|slab| slab.is_empty())?;
        // SAFETY: it is in a list.
        unsafe { self.unlink(slab) };
        self.slabs -= 1;
        Some(slab)
    }
}
