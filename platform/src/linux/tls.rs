//! Four words of each thread, at a fixed offset from the thread pointer.
//!
//! `thread_local!` needs `std`, and in a shared library it calls
//! `__tls_get_addr` (8.9 ns). The *initial-exec* model costs one load more
//! than a static, and assembly can ask for it on stable Rust: the symbol's
//! offset is a constant that the loader puts into the GOT. The words start as
//! zero in every thread.

use core::ffi::c_void;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("granule's thread words are written for x86_64 and aarch64 Linux");

core::arch::global_asm!(
    ".pushsection .tbss.granule, \"awT\", %nobits",
    ".p2align 3",
    ".hidden granule_thread_slot_0_1",
    ".globl granule_thread_slot_0_1",
    ".type granule_thread_slot_0_1, %object",
    ".size granule_thread_slot_0_1, 8",
    "granule_thread_slot_0_1:",
    ".zero 8",
    ".hidden granule_thread_index_0_1",
    ".globl granule_thread_index_0_1",
    ".type granule_thread_index_0_1, %object",
    ".size granule_thread_index_0_1, 8",
    "granule_thread_index_0_1:",
    ".zero 8",
    ".hidden granule_thread_scope_0_1",
    ".globl granule_thread_scope_0_1",
    ".type granule_thread_scope_0_1, %object",
    ".size granule_thread_scope_0_1, 8",
    "granule_thread_scope_0_1:",
    ".zero 8",
    ".hidden granule_thread_number_0_1",
    ".globl granule_thread_number_0_1",
    ".type granule_thread_number_0_1, %object",
    ".size granule_thread_number_0_1, 8",
    "granule_thread_number_0_1:",
    ".zero 8",
    ".popsection",
);

/// Defines the getter and the setter of one word.
macro_rules! thread_word {
    ($get:ident, $set:ident, $symbol:literal, $what:literal) => {
        #[doc = concat!("The calling thread's ", $what, ".")]
        #[inline(always)]
        pub(crate) fn $get() -> *mut c_void {
            let word: *mut c_void;
            // SAFETY: reads the caller's own word, which lives as long as the
            // thread.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    concat!("mov {w}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                    "mov {w}, qword ptr fs:[{w}]",
                    w = out(reg) word,
                    options(pure, readonly, nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    concat!("adrp {w}, :gottprel:", $symbol),
                    concat!("ldr {w}, [{w}, :gottprel_lo12:", $symbol, "]"),
                    "mrs {t}, tpidr_el0",
                    "ldr {w}, [{t}, {w}]",
                    w = out(reg) word,
                    t = out(reg) _,
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
                    concat!("mov {o}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                    "mov qword ptr fs:[{o}], {w}",
                    o = out(reg) _,
                    w = in(reg) word,
                    options(nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    concat!("adrp {o}, :gottprel:", $symbol),
                    concat!("ldr {o}, [{o}, :gottprel_lo12:", $symbol, "]"),
                    "mrs {t}, tpidr_el0",
                    "str {w}, [{t}, {o}]",
                    o = out(reg) _,
                    t = out(reg) _,
                    w = in(reg) word,
                    options(nostack, preserves_flags)
                );
            }
        }
    };
}

thread_word!(slot, set_slot, "granule_thread_slot_0_1", "cache: null before the first miss");
thread_word!(index, set_index, "granule_thread_index_0_1", "number: null before it has one");
thread_word!(scope, set_scope, "granule_thread_scope_0_1", "heap for a while: null outside");
thread_word!(
    thread,
    set_thread,
    "granule_thread_number_0_1",
    "number by the kernel: null before it was asked for"
);
