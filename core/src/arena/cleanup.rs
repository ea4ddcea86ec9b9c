//! What is to be done when an arena goes back to where it was.

use core::cell::Cell;
use core::ptr::{NonNull, null_mut};

/// Something to be done, in the arena itself.
///
/// `C` is `Record` alone where the action is known, and begins with it where
/// it has its data.
#[repr(C)]
pub(super) struct Record {
    next: *mut Record,
    run: unsafe fn(NonNull<Record>),
}

/// A record with what its action needs.
#[repr(C)]
pub(super) struct With<T> {
    record: Record,
    data: T,
}

/// Records, newest first.
///
/// A3: each is in the arena's memory, taken since all that are older, and its
/// action has not been run.
pub(super) struct Cleanups {
    newest: Cell<*mut Record>,
}

/// How many records there were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth(*mut Record);

impl Cleanups {
    pub(super) const fn new() -> Self {
        Self { newest: Cell::new(null_mut()) }
    }

    /// Drops the value when the arena goes back; it is put into `place`, and
    /// its own place is returned.
    ///
    /// # Safety
    ///
    /// Caller: `place` is the arena's memory, taken last, and ours.
    #[inline]
    pub(super) unsafe fn own<T>(&self, place: NonNull<With<T>>, value: T) -> NonNull<T> {
        /// # Safety
        ///
        /// The record is that of a `With<T>`, with its value.
        unsafe fn run<T>(record: NonNull<Record>) {
            // SAFETY: by the contract, and run once.
            unsafe { (&raw mut (*record.cast::<With<T>>().as_ptr()).data).drop_in_place() };
        }
        // SAFETY: by the contract.
        unsafe { self.push(place, value, run::<T>) }
    }

    /// Calls `action` when the arena goes back.
    ///
    /// # Safety
    ///
    /// Caller: as for [`own`](Self::own).
    #[inline]
    pub(super) unsafe fn defer<F: FnOnce()>(&self, place: NonNull<With<F>>, action: F) {
        /// # Safety
        ///
        /// The record is that of a `With<F>`, with its action.
        unsafe fn run<F: FnOnce()>(record: NonNull<Record>) {
            // SAFETY: by the contract, and run once.
            let action = unsafe { (&raw const (*record.cast::<With<F>>().as_ptr()).data).read() };
            action();
        }
        // SAFETY: by the contract.
        unsafe { self.push(place, action, run::<F>) };
    }

    /// # Safety
    ///
    /// Caller: as for [`own`](Self::own); `run` is for records with a `T`.
    unsafe fn push<T>(
        &self,
        place: NonNull<With<T>>,
        data: T,
        run: unsafe fn(NonNull<Record>),
    ) -> NonNull<T> {
        let record = Record { next: self.newest.get(), run };
        // SAFETY: by the contract.
        unsafe { place.write(With { record, data }) };
        self.newest.set(place.as_ptr().cast());
        // SAFETY: inside the record.
        unsafe { NonNull::new_unchecked(&raw mut (*place.as_ptr()).data) }
    }

    #[inline]
    pub(super) fn depth(&self) -> Depth {
        Depth(self.newest.get())
    }

    /// Whether nothing is to be done down to `depth`.
    #[inline]
    pub(super) fn are_done(&self, depth: Depth) -> bool {
        self.newest.get() == depth.0
    }

    /// Does what is to be done, newest first, down to `depth`. An action that
    /// unwinds leaves the older ones for the next time.
    ///
    /// # Safety
    ///
    /// Caller: the depth was this list's, and is not deeper than it is now.
    pub(super) unsafe fn run(&self, depth: Depth) {
        while !self.are_done(depth)
            && let Some(record) = NonNull::new(self.newest.get())
        {
            // SAFETY: A3; out of the list first, so that it is run once.
            unsafe {
                let Record { next, run } = record.read();
                self.newest.set(next);
                run(record);
            }
        }
    }
}

/// The depth at which there is nothing.
pub(super) const BOTTOM: Depth = Depth(null_mut());
