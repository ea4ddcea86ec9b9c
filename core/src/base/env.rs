//! The environment: what the core asks of the place it runs in, besides
//! memory and the number of a CPU.

use super::fault::Fault;

/// How to wait, what to keep out while a lock is held, what time it is, and
/// what to do about a fault.
///
/// All functions are associated: an environment is a type, chosen at compile
/// time, so a heap stays a plain `static`.
///
/// # Safety
///
/// Implementor:
/// - from [`exclude`](Self::exclude) until its value is dropped, no other
///   entry into the allocator may begin *on top of* the caller on the same
///   stack of control (a kernel masks interrupts; user space, where signal
///   handlers must not allocate, need do nothing); where the machine has no
///   compare-and-swap, also none of another thread or CPU, and it may be held
///   several times over;
/// - while [`shared`](Self::shared) is false, no call on a heap or lock of this
///   environment begins before the one before it has ended and is known to, but for
///   the heap's calls that may not wait and `try_lock`, on top of another one;
/// - no function may allocate or free through the heap it serves;
/// - [`fatal`](Self::fatal) does not return and does not unwind.
pub unsafe trait Environment: 'static {
    /// Held as long as a lock is held.
    type Exclusion;

    /// Whether calls may overlap: of threads, of CPUs, of an interrupt and what it
    /// came upon (but see above). Where not, locks and updates of shared words are plain loads
    /// and stores. A constant, or what a C library knows: the answer may change
    /// between two calls.
    #[inline(always)]
    fn shared() -> bool {
        true
    }

    /// Keeps nested entries out until the value is dropped.
    fn exclude() -> Self::Exclusion;

    /// Whether a lock that is about to be taken is to be found taken: asked in
    /// the core's own tests, which put a fault there.
    #[cfg(test)]
    fn finds_lock_taken() -> bool {
        false
    }

    /// Called each time a lock was found taken, with the number of times so
    /// far: spin first, then let somebody else run.
    fn wait(spins: u32);

    /// Called when a lock was found taken, by whoever waits for it and by
    /// whoever goes elsewhere, with the name of the type that it guards: for
    /// those who count.
    #[inline]
    fn found_taken(guards: &'static str) {
        let _ = guards;
    }

    /// Milliseconds of a monotonic clock that may be coarse and wraps. A
    /// constant is allowed: delays then never run out.
    fn now_ms() -> u32;

    /// A random number, asked for once by a heap that seals something with it;
    /// of a source that a program's input cannot foresee. Where there is none,
    /// a constant: seals then keep accidents out, and no attacker.
    fn random() -> u64 {
        0x9e37_79b9_7f4a_7c15
    }

    /// A number of the calling thread (or CPU, where that is what counts), not
    /// 0, for reports: one that a debugger shows. 0 where there is none. Asked
    /// for by each call in checked tiers.
    #[inline]
    fn thread() -> u32 {
        0
    }

    /// The same where it can be told in a few instructions; `None` sends a checked
    /// call the long way, which asks [`thread`](Self::thread).
    #[inline]
    fn known_thread() -> Option<u32> {
        Some(Self::thread())
    }

    /// Called once, without a lock, before the first block is given out that
    /// lies between guard pages: from now on a faulting access may mean
    /// something, which [`Heap::explain`](crate::Heap::explain) tells. User space
    /// installs a signal handler, a kernel asks in its handler of page faults.
    #[inline]
    fn guards_begin() {}

    /// Reports a fault and ends the program. The heap has not been changed
    /// by the call that found it.
    fn fatal(fault: Fault) -> !;
}

/// A reading of the clock that is this much older than another one, in
/// milliseconds, was taken before it: by a thread that has lost its CPU since.
const LATE_MS: u32 = 60_000;

/// Milliseconds from `since` to `now`, two readings of
/// [`Environment::now_ms`]; 0 when `now` was read first, by another thread.
pub(crate) const fn elapsed_ms(since: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(since);
    if elapsed > u32::MAX - LATE_MS { 0 } else { elapsed }
}

#[cfg(test)]
mod tests {
    use super::elapsed_ms;

    #[test]
    fn what_was_read_first_has_not_elapsed() {
        assert_eq!([elapsed_ms(100, 150), elapsed_ms(100, 100), elapsed_ms(101, 100)], [50, 0, 0]);
        assert_eq!([elapsed_ms(u32::MAX - 9, 40), elapsed_ms(40, u32::MAX - 9)], [50, 0]);
        // A clock that wraps: what is long past stays so.
        assert_eq!(elapsed_ms(0, u32::MAX / 2), u32::MAX / 2);
    }
}
