//! libgranule: the C library over the `granule` crate.
#![no_std]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes no argument and never returns.
    unsafe { libc::abort() }
}
