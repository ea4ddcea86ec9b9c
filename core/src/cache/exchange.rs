//! A stashed sheaf for the one in use, under the stash's lock: one lock for
//! what would be three.
//!
//! What is swapped out is nearly always in the state it was seen in. Where it is not
//! ([`Sheaf::from_end`]) its objects are put aside as if they had been freed where
//! nothing may wait: neither slabs nor depot are called under the stash's lock.

use core::ptr::NonNull;

use super::deferred::Deferred;
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
    deferred: &Deferred<E>,
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
            // SAFETY: `swap` made the old sheaf, one of the class, ours.
            let old = unsafe { Sheaf::from_end(top, class, End::Empty) };
            stash.keep_empty(old.unwrap_or_else(|other| emptied(deferred, other)));
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
    deferred: &Deferred<E>,
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
        // SAFETY: `swap` made the old sheaf, one of the class, ours.
        match unsafe { Sheaf::from_end(top, class, End::Full) } {
            Ok(full) => stash.keep_full(class, full),
            Err(other) => stash.keep_empty(emptied(deferred, other)),
        }
    }
    swapped
}

/// Puts the objects of a sheaf aside: live ones to the slabs, which the next miss that
/// may wait gives back.
#[cold]
#[inline(never)]
fn emptied<E: Environment>(deferred: &Deferred<E>, mut sheaf: Sheaf) -> Sheaf {
    while let Some(object) = sheaf.pop() {
        // SAFETY: nobody's, out of a sheaf of ours (C1); objects of every class are
        // aligned to 8 bytes.
        unsafe { deferred.push(object) };
    }
    sheaf
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
