//! How the machine ends: what QEMU returns.

/// Every case passed.
pub(crate) const GOOD: u8 = 0;
/// A case failed.
pub(crate) const FAILED: u8 = 1;
/// The kernel did not come up.
pub(crate) const BOOT: u8 = 2;
/// A panic.
pub(crate) const PANIC: u8 = 100;
/// The heap found a fault.
pub(crate) const FAULT: u8 = 110;
