//! Two words of each thread, at fixed places in its environment block.
//!
//! The block has 64 slots that `TlsAlloc` hands out, at an offset that
//! `winternl.h` documents. To read one is a load beyond the number's; the call
//! `TlsGetValue` would be some ten instructions, and a thread-local of the
//! compiler's is three loads and, in a library, not to be had without `std`.
//! The words start as null in every thread.
//!
//! A process that has used up the 64 slots gets no caches: numbers beyond are
//! elsewhere, in memory that a thread may not have.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr::{null_mut, without_provenance};
use core::sync::atomic::{AtomicUsize, Ordering};

use windows_sys::Win32::System::Threading::{TlsAlloc, TlsFree, TlsSetValue};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("granule's thread words are written for x86_64 and aarch64 Windows");

/// `TlsSlots` in the thread's block.
const SLOTS: usize = 0x1480;
/// How many there are.
const IN_BLOCK: u32 = 64;

/// A word that every thread has; without one it is null in all of them.
pub(super) struct Word(AtomicUsize);

/// The word that leads to the thread's cache: null before the first miss.
pub(super) static SLOT: Word = Word::none();
/// The thread's number: null before it has one.
pub(super) static INDEX: Word = Word::none();

impl Word {
    const fn none() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Its offset in the thread's block; 0 when there is no such word.
    #[inline(always)]
    pub(super) fn offset(&self) -> usize {
        // Acquire: the slot is null in all threads before its number is seen;
        // pairs with the Release in `make_now`.
        self.0.load(Ordering::Acquire)
    }

    /// The calling thread's.
    #[inline(always)]
    pub(super) fn get(&self) -> *mut c_void {
        match self.offset() {
            0 => null_mut(),
            // SAFETY: a slot of ours.
            offset => unsafe { read(offset) },
        }
    }

    /// Sets the calling thread's, if there is such a word.
    #[inline]
    pub(super) fn set(&self, word: *mut c_void) {
        match self.offset() {
            0 => {}
            // SAFETY: a slot of ours.
            offset => unsafe { write(offset, word) },
        }
    }

    /// Sees to it that there is such a word, if one is to be had.
    #[inline]
    pub(super) fn make(&self) {
        if self.offset() == 0 {
            self.make_now();
        }
    }

    #[cold]
    fn make_now(&self) {
        // SAFETY: no preconditions.
        let number = unsafe { TlsAlloc() };
        // Release: pairs with the Acquire in `offset`.
        let made = is_in_block(number)
            && self
                .0
                .compare_exchange(0, offset_of(number), Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if !made {
            // Too late, or made by another thread meanwhile.
            // SAFETY: just taken, or no number at all, which is refused.
            unsafe { TlsFree(number) };
        }
    }
}

fn offset_of(number: u32) -> usize {
    SLOTS + number as usize * size_of::<*mut c_void>()
}

/// Whether the slot of that number, which is the caller's, is where it should
/// be.
fn is_in_block(number: u32) -> bool {
    if number >= IN_BLOCK {
        return false;
    }
    let mark = without_provenance::<c_void>(0x6772_616e);
    // SAFETY: the caller's slot, and a documented place in the block.
    unsafe {
        let seen = TlsSetValue(number, mark) != 0 && read(offset_of(number)).cast_const() == mark;
        TlsSetValue(number, null_mut());
        seen
    }
}

/// Reads a slot of the calling thread.
///
/// # Safety
///
/// Caller: `offset` is that of a slot.
#[inline(always)]
pub(super) unsafe fn read(offset: usize) -> *mut c_void {
    let word: *mut c_void;
    // SAFETY: `gs` is the thread's block (the ABI); the slot by the contract.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov {w}, qword ptr gs:[{o}]", o = in(reg) offset, w = lateout(reg) word,
            options(pure, readonly, nostack, preserves_flags));
    }
    // SAFETY: `x18` is the thread's block (the ABI); the slot by the contract.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("ldr {w}, [x18, {o}]", o = in(reg) offset, w = lateout(reg) word,
            options(pure, readonly, nostack, preserves_flags));
    }
    word
}

/// Writes a slot of the calling thread.
///
/// # Safety
///
/// Caller: `offset` is that of a slot, which is ours.
#[inline(always)]
unsafe fn write(offset: usize, word: *mut c_void) {
    // SAFETY: as for `read`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov qword ptr gs:[{o}], {w}", o = in(reg) offset, w = in(reg) word,
            options(nostack, preserves_flags));
    }
    // SAFETY: as for `read`.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("str {w}, [x18, {o}]", o = in(reg) offset, w = in(reg) word,
            options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_threads_own_and_null_at_first() {
        static WORD: Word = Word::none();
        WORD.set(null_mut());
        assert!(WORD.get().is_null() && WORD.offset() == 0);
        WORD.make();
        let offset = WORD.offset();
        WORD.make();
        assert!(offset >= SLOTS && WORD.offset() == offset);
        let threads = [1usize, 2, 3].map(|number| {
            std::thread::spawn(move || {
                assert!(WORD.get().is_null());
                WORD.set(core::ptr::without_provenance_mut(number));
                std::thread::yield_now();
                WORD.get().addr() == number
            })
        });
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic")));
        assert!(WORD.get().is_null());
        numbers_beyond_the_block_are_refused_and_given_back();
    }

    /// Part of the test above: it takes the slots of all other tests.
    fn numbers_beyond_the_block_are_refused_and_given_back() {
        let mut taken = std::vec::Vec::new();
        loop {
            // SAFETY: no preconditions.
            let number = unsafe { TlsAlloc() };
            assert_ne!(number, u32::MAX, "there are over a thousand");
            taken.push(number);
            if number >= IN_BLOCK {
                break;
            }
        }
        static WORD: Word = Word::none();
        WORD.make();
        assert_eq!(WORD.offset(), 0);
        for number in taken {
            // SAFETY: taken above.
            unsafe { TlsFree(number) };
        }
    }
}
