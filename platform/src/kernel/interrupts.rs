//! Masking interrupts while a lock is held.

use core::marker::PhantomData;

/// How a kernel masks interrupts on the present CPU.
///
/// # Safety
///
/// Implementor:
/// - from [`mask`](Self::mask) to the matching [`restore`](Self::restore), no
///   maskable interrupt is taken on the CPU; pairs nest;
/// - both are compiler barriers: accesses stay between them.
pub unsafe trait Interrupts: 'static {
    /// What was before: whether they were enabled.
    type State: Copy;

    /// Masks interrupts; returns what was before.
    fn mask() -> Self::State;

    /// Puts back what was before.
    ///
    /// # Safety
    ///
    /// Caller: passes what the latest `mask` that was not yet restored
    /// returned, on the same CPU.
    unsafe fn restore(state: Self::State);
}

/// Interrupts are masked while this exists: the
/// [`Exclusion`](granule_core::Environment::Exclusion) of a kernel.
#[derive(Debug)]
#[must_use = "interrupts are masked only while this exists"]
pub struct Masked<I: Interrupts> {
    state: I::State,
    /// It belongs to the CPU it was made on.
    not_send: PhantomData<*mut ()>,
}

impl<I: Interrupts> Masked<I> {
    /// Masks interrupts.
    #[inline]
    pub fn new() -> Self {
        Self { state: I::mask(), not_send: PhantomData }
    }
}

impl<I: Interrupts> Default for Masked<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Interrupts> Drop for Masked<I> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: made by `new` here; scopes nest.
        unsafe { I::restore(self.state) };
    }
}
