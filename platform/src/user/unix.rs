//! What the Unix systems share: keys of threads, and the environment's list.

use core::ffi::{CStr, c_char, c_void};
use core::ptr::{NonNull, without_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::imp::env::quietly;

/// A key of threads, made when it is first needed.
pub(crate) struct Key {
    /// The key plus one; 0 before it is made.
    made: AtomicUsize,
    /// Called for a thread that ends with a value.
    ends: Option<unsafe extern "C" fn(*mut c_void)>,
}

impl Key {
    /// A key to be.
    pub(crate) const fn new(ends: Option<unsafe extern "C" fn(*mut c_void)>) -> Self {
        Self { made: AtomicUsize::new(0), ends }
    }

    /// The key, made first if need be; `None` when there are too many.
    pub(crate) fn get(&self) -> Option<libc::pthread_key_t> {
        // Acquire: pairs with the Release below.
        let made = self.made.load(Ordering::Acquire);
        if made != 0 {
            return Some((made - 1) as libc::pthread_key_t);
        }
        let mut new: libc::pthread_key_t = 0;
        // SAFETY: `new` is writable; the destructor does not unwind.
        if quietly(|| unsafe { libc::pthread_key_create(&raw mut new, self.ends) }) != 0 {
            return None;
        }
        // Release: publishes a key that exists; pairs with the Acquire above.
        let made = new as usize + 1;
        match self.made.compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(new),
            Err(other) => {
                // SAFETY: just made, and not the one all use.
                unsafe { libc::pthread_key_delete(new) };
                Some((other - 1) as libc::pthread_key_t)
            }
        }
    }

    /// Sets the calling thread's value; whether that could be done. May
    /// allocate: the caller holds no lock.
    pub(crate) fn set(&self, value: *mut c_void) -> bool {
        let Some(key) = self.get() else { return false };
        // SAFETY: the key exists. Where it allocates and cannot, that sets `errno`.
        quietly(|| unsafe { libc::pthread_setspecific(key, value) }) == 0
    }

    /// The calling thread's value; null before there is one.
    #[cfg(any(not(target_os = "linux"), granule_portable = "keys"))]
    pub(crate) fn value(&self) -> *mut c_void {
        // Acquire: pairs with the Release in `get`.
        match self.made.load(Ordering::Acquire) {
            0 => core::ptr::null_mut(),
            // SAFETY: the key exists.
            made => unsafe { libc::pthread_getspecific((made - 1) as libc::pthread_key_t) },
        }
    }
}

/// Rounds of key destructors (POSIX promises four) that are left to others,
/// because other destructors may allocate.
const ROUNDS: usize = 1;

/// What the value of a key is that counts rounds, at first.
pub(crate) fn first_round() -> *mut c_void {
    without_provenance_mut(1)
}

/// In the destructor of such a key: whether there will be another round.
pub(crate) fn waits_for_another_round(key: &Key, round: *mut c_void) -> bool {
    // The value's memory is there already.
    round.addr() <= ROUNDS && key.set(without_provenance_mut(round.addr() + 1))
}

/// The value of a variable in a list of the C library's.
///
/// # Safety
///
/// Caller: `list` is a list of strings that ends with null, and stays as it is.
pub(crate) unsafe fn find(list: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = list;
    // SAFETY: by the contract.
    while let Some(entry) = NonNull::new(unsafe { at.read() }.cast_mut().cast()) {
        // SAFETY: by the contract, a string.
        if let Some(value) = unsafe { value_of(entry, name) } {
            return Some(value);
        }
        // SAFETY: null has not been reached.
        at = unsafe { at.add(1) };
    }
    None
}

/// The rest of an entry `name=...`. Looks at no more of others than tells them apart, and
/// calls nothing for that: a page of the C library's that a small program has no other use
/// for would bring its neighbours along.
///
/// # Safety
///
/// Caller: `entry` is a string that stays as it is.
unsafe fn value_of(entry: NonNull<u8>, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = entry;
    for &byte in name.iter().chain(b"=") {
        // SAFETY: by the contract; what came before is part of the string, and its end
        // was not among it.
        unsafe {
            if at.read() != byte {
                return None;
            }
            at = at.add(1);
        }
    }
    // SAFETY: the rest of a string.
    Some(unsafe { CStr::from_ptr(at.as_ptr().cast()) }.to_bytes())
}
