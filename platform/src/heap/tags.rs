//! Tags of heaps that have ended, kept to be used again: for handles that outlive
//! their heaps, as C's do.
//!
//! They are here, and not with whoever has such handles, because a child of a fork
//! is to find the list whole, and the handlers of forks are this crate's.
//!
//! Locks: `ENDED`, a leaf, taken by who holds no lock.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use granule_core::base::sync::Lock;

use crate::imp::env::HostEnv;

/// Tags that are kept before one is used again.
const KEPT: usize = 1000;

/// What a tag has for the list: it begins with this.
#[derive(Debug)]
pub struct TagLink {
    /// The next younger one, under the lock.
    next: AtomicPtr<TagLink>,
}

impl TagLink {
    /// Of a tag in no list.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: AtomicPtr::new(null_mut()) }
    }
}

impl Default for TagLink {
    fn default() -> Self {
        Self::new()
    }
}

/// The oldest first.
struct Ended {
    first: *mut TagLink,
    last: *mut TagLink,
    count: usize,
}

// SAFETY: tags may be reached from any thread and are never given back, by the
// contract of `keep_tag`; reached under the lock.
unsafe impl Send for Ended {}

static ENDED: Lock<Ended, HostEnv> =
    Lock::new(Ended { first: null_mut(), last: null_mut(), count: 0 });

impl Ended {
    fn take(&mut self) -> Option<NonNull<TagLink>> {
        if self.count < KEPT {
            return None;
        }
        let tag = NonNull::new(self.first)?;
        // SAFETY: in the list, so never given back.
        self.first = unsafe { tag.as_ref() }.next.load(Relaxed);
        self.count -= 1;
        Some(tag)
    }

    fn put(&mut self, tag: NonNull<TagLink>) {
        // SAFETY: by the contract of `keep_tag`.
        unsafe { tag.as_ref() }.next.store(null_mut(), Relaxed);
        // SAFETY: null, or in the list as long as that is not empty.
        match unsafe { self.last.as_ref() } {
            Some(last) if self.count > 0 => last.next.store(tag.as_ptr(), Relaxed),
            _ => self.first = tag.as_ptr(),
        }
        self.last = tag.as_ptr();
        self.count += 1;
    }
}

/// The tag that was kept longest, out of a thousand or more; `None` where there are
/// fewer. It is as it was given to [`keep_tag`].
pub fn kept_tag() -> Option<NonNull<TagLink>> {
    ENDED.lock().take()
}

/// Keeps the tag of a heap that has ended, or was never made, to be used again.
///
/// # Safety
///
/// Caller: the tag begins with the link, is in no list, and is never given back; any
/// thread may have it from [`kept_tag`]. All tags that a process keeps are of one type.
pub unsafe fn keep_tag(tag: NonNull<TagLink>) {
    ENDED.lock().put(tag);
}

/// Before `fork`: closes the lock.
pub(crate) fn before_fork() {
    ENDED.hold();
}

/// After `fork`: opens it again.
///
/// # Safety
///
/// Caller: `before_fork` ran in this thread or, in a child, in the one that it is the
/// copy of.
pub(crate) unsafe fn after_fork() {
    // SAFETY: by the contract.
    unsafe { ENDED.unhold() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_and_only_out_of_a_thousand() {
        let mut list = Ended { first: null_mut(), last: null_mut(), count: 0 };
        let tags: [TagLink; KEPT + 2] = [const { TagLink::new() }; KEPT + 2];
        let (few, more) = tags.split_at(KEPT - 1);
        few.iter().for_each(|tag| list.put(NonNull::from(tag)));
        assert_eq!(list.take(), None);
        more.iter().for_each(|tag| list.put(NonNull::from(tag)));
        for tag in &tags[..3] {
            assert_eq!(list.take(), Some(NonNull::from(tag)));
        }
        assert_eq!(list.take(), None);
        list.put(NonNull::from(&tags[0]));
        assert_eq!(list.take(), Some(NonNull::from(&tags[3])));
    }
}
