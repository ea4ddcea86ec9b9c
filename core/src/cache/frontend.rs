//! The hook through which the core finds the cache of the CPU it runs on.
//!
//! The core never names thread-local storage or an operating system. A front
//! end does three things on the cache of *the CPU (or thread) that executes
//! the call*: pop, push and swap, each of which is one store to one word and
//! so can be a restartable sequence, a few instructions under a guard, or
//! plain code where a thread has a cache of its own.

use super::sheaf::Top;
use super::slot::Slot;
use crate::base::class::{Class, TABLED};
use crate::base::env::Environment;
use crate::provider::Node;

/// Where the caller stands.
#[derive(Debug)]
pub enum Current<'a, E: Environment> {
    /// On a CPU with this cache. The caller may be moved away at any time:
    /// what it reads of the slot is a hint, and `swap` decides.
    Slot(&'a Slot<E>),
    /// On a CPU that has no cache yet: one may be offered to
    /// [`FrontEnd::attach`].
    Absent,
    /// Where there is no cache: the CPU is stopped, an entry interrupted
    /// another one, or the thread is ending. Work on depot and slabs.
    Stopped,
}

/// A number that is no CPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchCpu;

impl core::fmt::Display for NoSuchCpu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no such CPU")
    }
}

impl core::error::Error for NoSuchCpu {}

/// A way to find the cache of the CPU the caller runs on.
///
/// # Safety
///
/// Implementor:
/// - `pop`, `push` and `swap` each act on one CPU's [`Tops`](super::tops::Tops)
///   as its methods of the same names do, *atomically with respect to every
///   other entry on that CPU*: threads that are switched in, interrupts,
///   migration;
/// - they may miss at any time (null, `false`), and must while the CPU is
///   stopped, unless nobody but the caller of [`stop`](Self::stop) could enter
///   there (a thread's own cache);
/// - `is_open_for` is false for sizes from [`TABLED`] on; `pop_first` and
///   `push_first` are `pop` and `push` that may leave caches out;
/// - once [`stop`](Self::stop) has returned true, nobody reads or writes the
///   slot's tops through `pop`, `push` or `swap` until `restart`.
///
/// The suite [`conformance::front_end`](crate::check::conformance::front_end)
/// tests the implementor's duties.
pub unsafe trait FrontEnd<E: Environment>: Sync + 'static {
    /// Pops an object from the CPU's sheaf of `class`; null on a miss.
    fn pop(&self, class: Class) -> *mut u8;

    /// Pushes an object of `class`; `false` on a miss, and for any odd pointer.
    ///
    /// # Safety
    ///
    /// Caller: the object is a live one of the class and nobody uses it any
    /// more; or the class is [`Class::LARGE`], with which any pointer, also
    /// null, is a miss.
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool;

    /// Whether a request of `size` is worth a [`pop_first`](Self::pop_first):
    /// not from [`TABLED`] on, nor as long as that must not be called. A front
    /// end that is not ready from the start spares its hits a test: one
    /// comparison of the size tells whether it is ready, too.
    #[inline(always)]
    fn is_open_for(&self, size: usize) -> bool {
        size < TABLED
    }

    /// Before the heap gives out its first block, and any number of times
    /// after: from now on there may be a `push_first`.
    #[inline(always)]
    fn prepare(&self) {}

    /// The [`pop`](Self::pop) of hits.
    ///
    /// # Safety
    ///
    /// Caller: has been told by [`is_open_for`](Self::is_open_for) that it is.
    #[inline(always)]
    unsafe fn pop_first(&self, class: Class) -> *mut u8 {
        self.pop(class)
    }

    /// The [`push`](Self::push) of hits.
    ///
    /// # Safety
    ///
    /// Caller: as for `push`, of an even pointer, and
    /// [`prepare`](Self::prepare) has been called.
    #[inline(always)]
    unsafe fn push_first(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract.
        unsafe { self.push(class, object) }
    }

    /// After a miss of [`push_first`](Self::push_first): pushes to what that
    /// has left out, if anything.
    ///
    /// # Safety
    ///
    /// Caller: as for `push`.
    #[inline(always)]
    unsafe fn push_again(&self, class: Class, object: *mut u8) -> bool {
        let _ = (class, object);
        false
    }

    /// The [`pop`](Self::pop) of common calls where every call is checked: may miss
    /// where that would first have to find out whom to ask.
    #[inline(always)]
    fn pop_checked(&self, class: Class) -> *mut u8 {
        self.pop(class)
    }

    /// As [`pop_checked`](Self::pop_checked), for [`push`](Self::push).
    ///
    /// # Safety
    ///
    /// Caller: as for `push`, of an even pointer.
    #[inline(always)]
    unsafe fn push_checked(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: by the contract.
        unsafe { self.push(class, object) }
    }

    /// Puts `new` where `expected` is the CPU's top of `class`; `false` when
    /// something else is, or the CPU is stopped.
    ///
    /// # Safety
    ///
    /// Caller: owns the sheaf of `new`; on success that of `expected` instead.
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool;

    /// The cache of the CPU the caller runs on.
    fn current(&self) -> Current<'_, E>;

    /// Offers a slot for the caller's CPU; `false` when it has one already
    /// (or is stopped), and the slot stays the caller's. It lives as long as
    /// the heap's memory: for ever, or until [`Resettable::reset`].
    fn attach(&self, slot: &'static Slot<E>) -> bool;

    /// The node of memory that the CPU of the caller is near to; 0 where there is
    /// one. A hint: the caller may be moved at any time. Asked on slow paths where
    /// the heap's [`Config::NODES`](crate::Config::NODES) and its provider have
    /// more than one node, also by calls that may not wait. A node that the
    /// provider does not have counts as 0.
    #[inline]
    fn node(&self) -> Node {
        Node(0)
    }

    /// The slot of a CPU by its number, where CPUs have numbers; `None` when it
    /// has no cache yet.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`] when the number is no CPU's; always, where threads have
    /// the caches.
    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<E>>, NoSuchCpu> {
        let _ = cpu;
        Err(NoSuchCpu)
    }

    /// Stops the CPU or thread that has `slot` and waits until nobody is
    /// inside a fast path on it, so that the caller may empty it. `false`
    /// when that cannot be done (another thread's slot, where threads cannot
    /// be stopped): the slot is then left alone.
    fn stop(&self, slot: &Slot<E>) -> bool;

    /// Lets a stopped slot be used again; one that is not stopped, or nobody's, stays
    /// as it is.
    fn restart(&self, slot: &Slot<E>);
}

/// A front end that can forget its slots: that of a heap whose memory is to be
/// given back while the program goes on.
///
/// # Safety
///
/// Implementor: after [`reset`](Self::reset) the front end is as it was when
/// it was made: it leads nobody to a slot it had before, and keeps no reference
/// to one, here or elsewhere (in a thread's word, a CPU's data).
///
/// Caller: may give the slots' memory back afterwards.
pub unsafe trait Resettable<E: Environment>: FrontEnd<E> {
    /// Forgets all slots. That the front end is borrowed exclusively proves
    /// that no call is inside of it.
    fn reset(&mut self);
}
