//! What a fast path sees of a CPU: one word a class.

use core::ptr::NonNull;

use super::sheaf::{Top, Word, is_mark};
use crate::base::class::{ALL_CLASSES, Class};
use crate::base::sync::atomic::{AtomicPtr, Ordering::Relaxed, Ordering::SeqCst, fence};

/// The tops of a CPU's sheaves, by class. That of [`Class::LARGE`] is always
/// the sentinel.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Tops([AtomicPtr<Word>; ALL_CLASSES]);

/// The tops of a CPU that has no cache: every pop and push misses. A front
/// end may point a CPU here to stop it. Never written.
pub static STOPPED: Tops = Tops::new();

impl Default for Tops {
    fn default() -> Self {
        Self::new()
    }
}

impl Tops {
    /// All sentinels.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(Top::sentinel().0.as_ptr()) }; ALL_CLASSES])
    }

    /// The top of a class.
    #[inline(always)]
    pub fn get(&self, class: Class) -> Top {
        // SAFETY: the index of a class is below `ALL_CLASSES`.
        let top = unsafe { self.0.get_unchecked(class.index()) };
        // SAFETY: tops are never null.
        Top(unsafe { NonNull::new_unchecked(top.load(Relaxed)) })
    }

    /// The top of a class, of any CPU's, to look at what is below it. What that is may
    /// change meanwhile.
    pub(crate) fn observe(&self, class: Class) -> Top {
        let top = self.get(class);
        // SeqCst: pairs with the fence in `Sheaf::format_first`: without a begin mark the
        // walk would leave the block.
        fence(SeqCst);
        top
    }

    #[inline(always)]
    fn set(&self, class: Class, top: Top) {
        // SAFETY: the index of a class is below `ALL_CLASSES`.
        unsafe { self.0.get_unchecked(class.index()) }.store(top.0.as_ptr(), Relaxed);
    }

    /// Pops an object; null on a miss.
    ///
    /// # Safety
    ///
    /// Caller: nobody else pops from, pushes to or swaps these tops before
    /// the call returns (a thread's own, a guard, a restartable sequence).
    #[inline(always)]
    pub unsafe fn pop(&self, class: Class) -> *mut u8 {
        let (word, object) = self.get(class).below();
        if is_mark(object) {
            return core::ptr::null_mut();
        }
        self.set(class, Top(word));
        // So that a caller's test for null is this function's test for a mark.
        // SAFETY: what is below a top and is no mark is an object (C1).
        unsafe { core::hint::assert_unchecked(!object.is_null()) };
        object
    }

    /// Pushes an object; `false` on a miss, and for any odd pointer.
    ///
    /// # Safety
    ///
    /// Caller: as for [`pop`](Self::pop), and the object is a live one of the
    /// class, which the sheaf owns from now on; or the class is
    /// [`Class::LARGE`], which always misses.
    #[inline(always)]
    pub unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        let (word, there) = self.get(class).at();
        // An odd pointer is no object's, and would read as a mark.
        if is_mark(there.map_addr(|word| word | object.addr())) {
            return false;
        }
        // SAFETY: by the contract, and the word at the top is no mark.
        unsafe { self.put(class, word, object) };
        true
    }

    /// [`push`](Self::push) for callers who know that the pointer is even: an
    /// instruction less.
    ///
    /// # Safety
    ///
    /// Caller: as for `push`, of an even pointer.
    #[inline(always)]
    pub unsafe fn push_even(&self, class: Class, object: *mut u8) -> bool {
        let (word, there) = self.get(class).at();
        if is_mark(there) {
            return false;
        }
        // SAFETY: by the contract, and the word at the top is no mark.
        unsafe { self.put(class, word, object) };
        true
    }

    /// Puts an object where the top is.
    ///
    /// # Safety
    ///
    /// Caller: as for `push_even`, and `word` is the class's top, and no mark.
    #[inline(always)]
    unsafe fn put(&self, class: Class, word: NonNull<Word>, object: *mut u8) {
        // SAFETY: C1, the sheaf is the tops', and the word at the top is free.
        unsafe {
            word.as_ref().store(object, Relaxed);
            self.set(class, Top(word.add(1)));
        }
    }

    /// Puts `new` where `expected` is; `false` when something else is there.
    ///
    /// # Safety
    ///
    /// Caller: as for [`pop`](Self::pop); owns the sheaf of `new`, and on
    /// success that of `expected` instead.
    #[inline]
    pub unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        let same = self.get(class) == expected;
        if same {
            self.set(class, new);
        }
        same
    }

    /// Takes a class's top out, leaving the sentinel.
    ///
    /// # Safety
    ///
    /// Caller: as for [`pop`](Self::pop); owns the sheaf of the top returned.
    pub(crate) unsafe fn take(&self, class: Class) -> Top {
        let top = self.get(class);
        self.set(class, Top::sentinel());
        top
    }
}

#[cfg(all(test, loom))]
#[path = "tops_models.rs"]
mod models;
