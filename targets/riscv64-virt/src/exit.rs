//! Ends QEMU with a status.
//!
//! The finisher `sifive,test0` (QEMU `hw/misc/sifive_test.c`): a word of
//! `0x5555` ends with status 0, `code << 16 | 0x3333` with `code`.

use crate::cpu;

const FINISHER: usize = 0x10_0000;
const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;

/// The status after an exception.
pub const EXCEPTION: u8 = 101;
/// The status where an argument asks for what the machine has not.
pub const UNSUPPORTED: u8 = 102;
/// The status where the device tree cannot be read.
pub const BAD_BOOT: u8 = 103;

/// Ends QEMU; its own status is `code`.
pub fn exit(code: u8) -> ! {
    let word = match code {
        0 => PASS,
        code => u32::from(code) << 16 | FAIL,
    };
    // SAFETY: the device's register, at this address on this machine.
    unsafe { (FINISHER as *mut u32).write_volatile(word) };
    // QEMU ends a little later.
    let _masked = cpu::mask();
    loop {
        cpu::wait_for_interrupt();
    }
}
