//! Four words of each thread, at a fixed offset from the thread pointer.
//!
//! `thread_local!` needs `std`, and in a shared library it calls
//! `__tls_get_addr` (8.9 ns). The *initial-exec* model costs one load more
//! than a static, and assembly can ask for it on stable Rust: the symbol's
//! offset is a constant that the loader puts into the GOT. The words start as
//! zero in every thread.

use core::ffi::c_void;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "granule's assembly is written for x86_64 and aarch64 Linux; `--cfg granule_portable` needs none"
);

core::arch::global_asm!(
    ".pushsection .tbss.granule, \"awT\", %nobits",
    ".p2align 5",
    ".hidden granule_thread_words_0_1",
    ".globl granule_thread_words_0_1",
    ".type granule_thread_words_0_1, %object",
    ".size granule_thread_words_0_1, 32",
    "granule_thread_words_0_1:",
    ".zero 32",
    ".popsection",
);

/// Where a thread's words are from its thread pointer: one constant for all of
/// them, which the compiler need load but once.
#[inline(always)]
fn offset() -> isize {
    let offset: isize;
    // SAFETY: reads a constant of the loader's.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "mov {o}, qword ptr [rip + granule_thread_words_0_1@GOTTPOFF]",
            o = out(reg) offset,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "adrp {o}, :gottprel:granule_thread_words_0_1",
            "ldr {o}, [{o}, :gottprel_lo12:granule_thread_words_0_1]",
            o = out(reg) offset,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    offset
}

/// Defines the getter and the setter of one word.
macro_rules! thread_word {
    ($get:ident, $set:ident, $at:literal, $what:literal) => {
        #[doc = concat!("The calling thread's ", $what, ".")]
        #[inline(always)]
        pub(crate) fn $get() -> *mut c_void {
            let word: *mut c_void;
            // SAFETY: reads the caller's own word, which lives as long as the
            // thread.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    concat!("mov {w}, qword ptr fs:[{o} + ", $at, "]"),
                    o = in(reg) offset(),
                    w = lateout(reg) word,
                    options(pure, readonly, nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    "mrs {w}, tpidr_el0",
                    "add {w}, {w}, {o}",
                    concat!("ldr {w}, [{w}, #", $at, "]"),
                    o = in(reg) offset(),
                    w = out(reg) word,
                    options(pure, readonly, nostack, preserves_flags)
                );
            }
            word
        }

        #[doc = concat!("Sets the calling thread's ", $what, ".")]
        #[inline(always)]
        pub(crate) fn $set(word: *mut c_void) {
            // SAFETY: writes the caller's own word.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    concat!("mov qword ptr fs:[{o} + ", $at, "], {w}"),
                    o = in(reg) offset(),
                    w = in(reg) word,
                    options(nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    "mrs {t}, tpidr_el0",
                    "add {t}, {t}, {o}",
                    concat!("str {w}, [{t}, #", $at, "]"),
                    o = in(reg) offset(),
                    t = out(reg) _,
                    w = in(reg) word,
                    options(nostack, preserves_flags)
                );
            }
        }
    };
}

thread_word!(slot, set_slot, "0", "cache: null before the first miss");
thread_word!(index, set_index, "8", "number: null before it has one");
thread_word!(scope, set_scope, "16", "heap for a while: null outside");
thread_word!(thread, set_thread, "24", "number by the kernel: null before it was asked for");
