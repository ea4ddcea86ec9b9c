//! Classes that a CPU needs no more: how capacities shrink again.
//!
//! A class's sheaves double with each miss, and full ones are stashed, so what a
//! CPU caches of a class follows its need upwards. Here it follows downwards:
//! every `stash::COLD_MS` a CPU looks, at a miss, which classes have missed nothing
//! since the last look, gives what it caches of them back, and lets them start
//! small again. A class that hits and never misses looks cold, too: it pays a
//! miss or two each time.

use super::frontend::FrontEnd;
use super::lower::Lower;
use super::sheaf::{Sheaf, Top};
use super::slot::Slot;
use super::stash::bit;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::env::Environment;

impl<C: Config> Cache<C> {
    /// Gives back what the caller's slot has of cold classes, if it is time to
    /// look.
    pub(super) fn cool(&self, lower: &Lower<C>, slot: &Slot<C::Env>) {
        let cold = match slot.stash.try_lock() {
            Some(mut stash) => stash.look_for_cold(C::Env::now_ms()),
            None => 0,
        };
        if cold != 0 {
            let cold = |class: &Class| cold & bit(*class) != 0;
            Class::all().filter(cold).for_each(|class| self.cool_class(lower, slot, class));
        }
    }

    fn cool_class(&self, lower: &Lower<C>, slot: &Slot<C::Env>, class: Class) {
        let top = slot.tops().get(class);
        // SAFETY: no sheaf is put in.
        if !top.is_sentinel() && unsafe { lower.front.swap(class, top, Top::sentinel()) } {
            // SAFETY: `swap` made the sheaf ours.
            self.put_emptied(lower, slot, class, unsafe { Sheaf::from_top(top) });
        }
        while let Some(sheaf) = slot.stash.try_lock().and_then(|mut stash| stash.cool(class)) {
            self.put_emptied(lower, slot, class, sheaf);
        }
    }
}
