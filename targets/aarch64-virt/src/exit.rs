//! Ends QEMU with a status.
//!
//! Arm semihosting, `SYS_EXIT_EXTENDED` (0x20): `hlt #0xf000` with the number
//! in `w0` and in `x1` the address of a reason and a code. QEMU needs the
//! option `-semihosting`.

use core::arch::asm;

use crate::cpu;

const SYS_EXIT_EXTENDED: usize = 0x20;
const ADP_STOPPED_APPLICATION_EXIT: usize = 0x2_0026;

/// The status after an exception.
pub const EXCEPTION: u8 = 101;
/// The status where an argument asks for what the machine has not.
pub const UNSUPPORTED: u8 = 102;
/// The status where the device tree cannot be read.
pub const BAD_BOOT: u8 = 103;

/// Ends QEMU; its own status is `code`.
pub fn exit(code: u8) -> ! {
    let block = [ADP_STOPPED_APPLICATION_EXIT, usize::from(code)];
    // SAFETY: reads the block, and returns, if ever, with nothing but `x0`
    // changed.
    unsafe {
        asm!(
            "hlt #0xf000",
            inout("x0") SYS_EXIT_EXTENDED => _,
            in("x1") block.as_ptr(),
            options(nostack),
        );
    }
    let _masked = cpu::mask();
    loop {
        cpu::wait_for_interrupt();
    }
}
