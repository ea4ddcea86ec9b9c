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
///   handlers must not allocate, need do nothing);
/// - no function may allocate or free through the heap it serves;
/// - [`fatal`](Self::fatal) does not return and does not unwind.
pub unsafe trait Environment: 'static {
    /// Held as long as a lock is held.
    type Exclusion;

    /// Keeps nested entries out until the value is dropped.
    fn exclude() -> Self::Exclusion;

    /// Called each time a lock was found taken, with the number of times so
    /// far: spin first, then let somebody else run.
    fn wait(spins: u32);

    /// Milliseconds of a monotonic clock that may be coarse and wraps. A
    /// constant is allowed: delays then never run out.
    fn now_ms() -> u32;

    /// Reports a fault and ends the program. The heap has not been changed
    /// by the call that found it.
    fn fatal(fault: Fault) -> !;
}
