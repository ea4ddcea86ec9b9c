//! Pages set aside beforehand: a run is taken and given back, committed by then
//! and, if wanted, touched.
//!
//! No lock is held meanwhile: the run is the caller's, and what is touched is
//! touched under none. A fork waits (P3).

use super::Located;
use super::nodes::Near;
use super::runs::{Search, Stamp};
use super::set::{Regions, Run};
use super::span::Span;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::base::fault::OutOfMemory;
use crate::base::limits::Backing;
use crate::base::units::{PAGE_SIZE, PageCount};
use crate::provider::PageProvider;

/// Where no run is long enough, so many together.
const PIECES: usize = 16;

/// Shorter ones than this many pages are not looked for.
const LEAST_PIECE: u32 = 16;

impl<C: Config> Regions<C> {
    /// Sees to it that `pages` are free and committed, in one run or in a few
    /// of the present regions.
    ///
    /// # Errors
    ///
    /// When they cannot be had; what could be had is free, and not touched.
    pub(crate) fn preallocate(
        &self,
        provider: &C::Pages,
        near: Near,
        pages: PageCount,
        backing: Backing,
    ) -> Result<(), OutOfMemory> {
        // P3: a child would lose them.
        let _passing = self.purging.pass();
        let mut held = [None; PIECES];
        let done = match self.take(provider, near, pages, 1, Class::LARGE) {
            Ok(run) => {
                held[0] = Some(run);
                Ok(())
            }
            Err(OutOfMemory) => self.take_pieces(provider, pages, &mut held),
        };
        let touch = done.is_ok() && backing == Backing::AtOnce;
        for run in held.into_iter().flatten() {
            let mut stamp = Stamp { since: C::Env::now_ms(), ..run.stamp };
            if touch {
                if let Some(located) = self.locate(run.start.as_ptr()) {
                    self.touch(&run, &located, provider.page_size());
                }
                // What was zero has got zeros.
                stamp.resident = Span::ALL;
            }
            let given = self.give_stamped(run.start, stamp);
            debug_assert!(given.is_ok(), "a taken run is a used run");
        }
        done
    }

    /// Takes runs that are `pages` together, without growth. What was taken is
    /// in `held` also when they are not enough.
    fn take_pieces(
        &self,
        provider: &C::Pages,
        pages: PageCount,
        held: &mut [Option<Run>; PIECES],
    ) -> Result<(), OutOfMemory> {
        let mut missing = pages.get();
        let mut piece = missing;
        for place in held {
            let run = loop {
                let take = |pages| self.take_present(provider, None, pages, 1, 0, Search::Thorough);
                match take(PageCount(piece)) {
                    Ok((_, run)) => break run,
                    Err(_) if piece / 2 < LEAST_PIECE => return Err(OutOfMemory),
                    Err(_) => piece /= 2,
                }
            };
            *place = Some(run);
            missing -= piece;
            if missing == 0 {
                return Ok(());
            }
            piece = piece.min(missing);
        }
        Err(OutOfMemory)
    }

    /// Touches every page of a run, and its tables.
    fn touch(&self, run: &Run, located: &Located<'_>, machine_page: usize) {
        let bytes = run.pages.bytes();
        // From its first byte every machine page is met but perhaps the last.
        for at in (0..bytes).step_by(machine_page.max(PAGE_SIZE)).chain([bytes - 1]) {
            // SAFETY: inside the run, which is ours alone, and whose contents
            // are nobody's. Volatile: nobody reads it.
            unsafe { run.start.add(at).write_volatile(0) };
        }
        // SAFETY: the run is ours, as a whole and without a class.
        unsafe { located.region.tables.touch(located.page, run.pages.get()) };
    }
}
