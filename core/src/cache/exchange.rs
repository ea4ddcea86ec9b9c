//! A stashed sheaf for the one in use, under the stash's lock: one lock for
//! what would be three.

use core::ptr::NonNull;

use super::frontend::FrontEnd;
use super::sheaf::{End, Sheaf, Top};
use super::stash::Stash;
use crate::base::class::Class;
use crate::base::env::Environment;

/// Puts a full sheaf in the place of an empty one, or of none, and keeps that.
/// Returns an object out of it; `None` when something else is in place, and
/// the full sheaf is stashed.
#[inline]
pub(super) fn refill<E: Environment>(
    front: &impl FrontEnd<E>,
    stash: &mut Stash,
    class: Class,
    top: Top,
    mut full: Sheaf,
) -> Option<NonNull<u8>> {
    let object = full.pop()?;
    let new = full.into_top();
    // SAFETY: the new sheaf is ours.
    if unsafe { front.swap(class, top, new) } {
        if !top.is_sentinel() {
            // SAFETY: `swap` made the old sheaf ours; empty, as its top said.
            stash.keep_empty(unsafe { Sheaf::from_end(top, class, End::Empty) });
        }
        return Some(object);
    }
    // SAFETY: the swap failed, so the new sheaf is still ours.
    let mut full = unsafe { Sheaf::from_top(new) };
    full.push(object);
    stash.keep_full(class, full);
    None
}

/// Puts an empty sheaf, with `object` in it, in the place of a full one, or of
/// none, and keeps that. `false` when something else is in place; the object
/// is the caller's then, and the empty sheaf is stashed.
#[inline(always)]
pub(super) fn overflow<E: Environment>(
    front: &impl FrontEnd<E>,
    stash: &mut Stash,
    class: Class,
    top: Top,
    mut empty: Sheaf,
    object: NonNull<u8>,
) -> bool {
    empty.push(object);
    let new = empty.into_top();
    // SAFETY: the new sheaf is ours.
    let swapped = unsafe { front.swap(class, top, new) };
    if !swapped {
        // SAFETY: the swap failed, so the new sheaf is still ours; the object
        // is taken out of it again.
        let mut empty = unsafe { Sheaf::from_top(new) };
        empty.clear();
        stash.keep_empty(empty);
    } else if !top.is_sentinel() {
        // SAFETY: `swap` made the old sheaf ours; full, as its top said.
        stash.keep_full(class, unsafe { Sheaf::from_end(top, class, End::Full) });
    }
    swapped
}
