//! The slabs of one class that have free objects, by how full they are.
//!
//! A refill takes from the fullest slab, so that sparse ones run empty and go
//! back: four lists by quarters of occupancy decide, newest first in each.

use super::header::{SETTLED, Slab};
use crate::base::class::Class;
use crate::base::sync::atomic::AtomicPtr;
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
    /// Objects free in them (S3).
    pub free: usize,
    /// Slabs ever made: the colour's turn.
    pub made: u32,
    /// Pages of these slabs that have been given back (S5).
    pub purged: u32,
    /// The number of the last look, never [`SETTLED`].
    look: u16,
    /// Lists that the walk has still to go to, from the last one; 0 between two.
    lists_left: u8,
    /// Where it goes on in the one that it has come to.
    next: Option<Slab>,
}

// SAFETY: the slabs are the heap's own and are reached under the lock.
unsafe impl Send for ClassSlabs {}

fn fill_of(slab: Slab) -> u8 {
    let quarter = slab.free() as usize * FILLS / (slab.info().objects as usize + 1);
    quarter as u8
}

impl ClassSlabs {
    pub(crate) const fn new() -> Self {
        Self {
            lists: [None; FILLS],
            slabs: 0,
            partial: 0,
            free: 0,
            made: 0,
            purged: 0,
            look: SETTLED + 1,
            lists_left: 0,
            next: None,
        }
    }

    /// Claims up to `out.len()` objects of a slab in a list, as
    /// [`Slab::claim`].
    pub(crate) fn claim(&mut self, slab: Slab, out: &[AtomicPtr<u8>]) -> usize {
        self.touch(slab);
        let claimed = if slab.purged() == 0 {
            slab.claim(out)
        } else {
            let before = slab.purged().count_ones();
            let claimed = slab.claim_sparse(out);
            self.purged -= before - slab.purged().count_ones();
            claimed
        };
        self.free -= claimed;
        claimed
    }

    /// Notes that a slab changes.
    #[inline]
    pub(crate) fn touch(&self, slab: Slab) {
        slab.set_touched(self.look);
    }

    /// Begins a new look.
    pub(super) fn note_look(&mut self) {
        self.look = self.look.wrapping_add(1).max(SETTLED + 1);
    }

    /// Whether a slab has not changed since `looks` looks, the last one among them,
    /// began, and is not settled; with 0, in any case.
    pub(super) fn has_rested(&self, slab: Slab, looks: u16) -> bool {
        let touched = slab.touched();
        looks == 0 || (touched != SETTLED && self.look.wrapping_sub(touched) >= looks)
    }

    /// Notes that there is nothing to do for a slab until it changes.
    pub(super) fn settle(&self, slab: Slab) {
        slab.set_touched(SETTLED);
    }

    /// Begins a walk unless one is under way.
    pub(super) fn begin_walk(&mut self) {
        if self.next.is_none() && self.lists_left == 0 {
            self.lists_left = FILLS as u8;
        }
    }

    /// The next slab of the walk, sparse ones first; `None` at its end.
    pub(super) fn walk(&mut self) -> Option<Slab> {
        while self.next.is_none() {
            self.lists_left = self.lists_left.checked_sub(1)?;
            self.next = self.lists[usize::from(self.lists_left)];
        }
        let slab = self.next?;
        self.next = slab.next();
        Some(slab)
    }

    /// Lets the walk come to the slab that it came to last once more.
    pub(super) fn walk_back_to(&mut self, slab: Slab) {
        self.next = Some(slab);
    }

    /// Ends the walk that is under way.
    pub(super) fn end_walk(&mut self) {
        (self.next, self.lists_left) = (None, 0);
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
        if self.next == Some(slab) {
            self.next = next;
        }
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

    /// Verifies S4: each listed slab has free objects and is in the list of its
    /// fill, linked both ways, and they are as many as counted; and the slabs
    /// themselves.
    pub(crate) fn check(&self, class: Class, node: Node) -> Result<(), Violation> {
        let (mut listed, mut free, mut purged) = (0, 0, 0);
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
                free += slab.free() as usize;
                purged += slab.purged().count_ones();
                before = Some(slab);
            }
        }
        Violation::unless(free == self.free, "S3", "free objects that are not counted", 0)?;
        Violation::unless(purged == self.purged, "S5", "pages given back that are not counted", 0)?;
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

    /// Counts a new slab, whose objects are free.
    pub(super) fn count(&mut self, slab: Slab) {
        self.slabs += 1;
        self.free += slab.free() as usize;
        self.touch(slab);
    }

    /// Counts a slab that leaves no more.
    pub(super) fn forget(&mut self, slab: Slab) {
        self.slabs -= 1;
        self.free -= slab.free() as usize;
        self.purged -= slab.purged().count_ones();
    }

    /// Takes the first wholly free slab out of its list.
    pub(crate) fn take_empty(&mut self) -> Option<Slab> {
        let slab = self.list(FILLS - 1).find(|slab| slab.is_empty())?;
        // SAFETY: it is in a list.
        unsafe { self.unlink(slab) };
        self.forget(slab);
        Some(slab)
    }
}
