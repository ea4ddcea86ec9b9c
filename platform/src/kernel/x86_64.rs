//! x86-64: words of a CPU, numbers and interrupt masks. (Intel 64 and IA-32 Architectures
//! Software Developer's Manual: `RFLAGS.IF`, `IA32_GS_BASE`, `CPUID` leaf 1.)

use core::arch::asm;

use super::interrupts::Interrupts;

/// A word of the data of each CPU that `GS` leads to, `OFFSET` bytes into it:
/// one instruction. The CPU's number, or the address of its
/// [`CpuLocal`](super::cpu::CpuLocal).
///
/// # Safety
///
/// Caller: the base of `GS` is that of such data, from before the first call.
#[inline(always)]
#[must_use]
pub unsafe fn word_in_gs<const OFFSET: usize>() -> usize {
    let word;
    // SAFETY: by the contract. Not `pure`: a thread that moves to another CPU
    // finds another value.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) word, const OFFSET,
            options(nostack, preserves_flags, readonly));
    };
    word
}

/// The number that the CPU's interrupt controller had at reset, from the CPU
/// itself: it needs no set-up, and takes a hundred cycles, thousands in a
/// virtual machine. For what fills in the number that `GS` leads to; it may
/// leave gaps.
#[must_use]
pub fn initial_apic_id() -> usize {
    let features: u64;
    // SAFETY: reads the CPU's features. `rbx` is not for inline assembly to
    // name, so it is kept in another register meanwhile.
    unsafe {
        asm!("mov {0:r}, rbx", "cpuid", "xchg {0:r}, rbx", out(reg) features,
            inout("eax") 1 => _, inout("ecx") 0 => _, out("edx") _, options(nomem, nostack));
    };
    (features >> 24) as usize & 0xff
}

/// Interrupts of a kernel in ring 0: `RFLAGS.IF`.
#[derive(Debug)]
pub struct InterruptFlag;

/// `RFLAGS.IF`.
const IF: usize = 1 << 9;

// SAFETY: the flag is cleared, and set again if it was set; neither is
// `nomem`.
unsafe impl Interrupts for InterruptFlag {
    type State = usize;

    #[inline(always)]
    fn mask() -> usize {
        let before: usize;
        // SAFETY: clears the interrupt flag alone; what it pushes it pops.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) before, options(preserves_flags)) };
        before & IF
    }

    #[inline(always)]
    unsafe fn restore(state: usize) {
        if state != 0 {
            // SAFETY: by the contract they were enabled before.
            unsafe { asm!("sti", options(nostack, preserves_flags)) };
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// `arch_prctl`'s code to set the base of `GS`, which nothing else uses in
    /// user space.
    const ARCH_SET_GS: libc::c_int = 0x1001;

    #[test]
    fn a_word_is_read_where_gs_leads() {
        let here: [usize; 3] = [7, 11, 13];
        // SAFETY: only this thread's `GS`, which nothing else uses.
        let status = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, here.as_ptr()) };
        assert_eq!(status, 0);
        // SAFETY: set just now to three words that are still there.
        let read = unsafe { (word_in_gs::<0>(), word_in_gs::<8>(), word_in_gs::<16>()) };
        assert_eq!(read, (7, 11, 13));
    }

    #[test]
    fn the_apic_id_is_eight_bits() {
        assert!(initial_apic_id() <= 0xff);
        // SAFETY: `cpuid` is there on every x86-64.
        #[allow(unused_unsafe)]
        let brand = unsafe { core::arch::x86_64::__cpuid(0) };
        assert!(brand.eax >= 1, "leaf 1 is there");
    }
}
