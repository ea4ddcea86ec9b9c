//! The sequences for x86_64.
//!
//! ```text
//! 2:  area.rseq_cs = descriptor of 3..4       start, and start again
//! 3:  t = entries[number]                     the CPU's tops
//!     …                                       any miss: out, nothing stored
//!     t[class] = new top                      the one store that counts
//! 4:
//! ```
//!
//! A pop ends in one instruction that loads, lowers and stores the top: nothing
//! can come in between on its CPU, and no other writes it. A push does not: it
//! would load the top behind its store of the object, and where the addresses
//! of both end in the same 12 bits processors make it wait, half a pair's time.
//!
//! On an abort nothing but the instruction pointer changes: registers are as
//! they were in the middle, so inputs are never overwritten (`out`, not
//! `lateout`), and everything else is computed anew from 2. Nothing is called
//! inside. The kernel wants the four bytes before an abort handler to be a
//! signature, here in the clothes of an instruction that is never executed.
//!
//! Inline: a naked function for each would cost a call and a return, and the
//! registers around it.

use core::arch::asm;

use granule_core::base::class::Class;
use granule_core::cache::sheaf::Top;

use super::super::front::OPEN_BELOW;
use super::{Entry, Numbers, Sequences, stopped};

/// The kernel's word before every abort handler.
pub(super) const SIGNATURE: u32 = 0x5305_3053;

/// The thread pointer.
#[inline]
pub(super) fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: the first word of a thread's block is its own address (the ABI).
    unsafe {
        asm!("mov {p}, qword ptr fs:[0]", p = out(reg) pointer,
            options(pure, readonly, nostack, preserves_flags));
    }
    pointer
}

/// Offset of our area from the thread pointer.
pub(super) fn own_offset() -> isize {
    let offset: isize;
    // SAFETY: reads a constant of the loader's.
    unsafe {
        asm!("mov {o}, qword ptr [rip + granule_rseq_area_0_1@GOTTPOFF]", o = out(reg) offset,
            options(pure, readonly, nostack, preserves_flags));
    }
    offset
}

/// Where the C library tells offset and size of its areas; null if it does not.
pub(super) fn library_symbols() -> (*const isize, *const u32) {
    let (offset, size);
    // SAFETY: reads two addresses of the loader's.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "mov {o}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {s}, qword ptr [rip + __rseq_size@GOTPCREL]",
            o = out(reg) offset,
            s = out(reg) size,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    (offset, size)
}

/// Whether `size` is below [`OPEN_BELOW`], loaded with Acquire as all loads are
/// here. What the compiler makes of it is an instruction longer.
#[inline(always)]
pub(in crate::linux) fn is_open_for(size: usize) -> bool {
    // SAFETY: reads a static. Accesses that follow are not moved before it.
    unsafe {
        asm!(
            "cmp {size}, qword ptr [rip + {bound}]",
            "jae {above}",
            size = in(reg) size,
            bound = sym OPEN_BELOW,
            above = label { return false },
            options(nostack),
        );
    }
    true
}

/// Names 3..4 as the sequence and 5 as its handler.
macro_rules! descriptor {
    () => {
        concat!(
            ".pushsection __rseq_cs, \"aw\", @progbits\n",
            ".balign 32\n",
            "9:\n",
            ".long 0, 0\n",
            ".quad 3f, 4f - 3f, 5f\n",
            ".popsection\n",
        )
    };
}

/// The handler, out of the way.
macro_rules! handler {
    ($abort:literal) => {
        concat!(
            ".pushsection .text.granule_rseq_abort, \"ax\", @progbits\n",
            ".byte 0x0f, 0xb9, 0x3d\n",
            ".long 0x53053053\n",
            "5:\n",
            $abort,
            "\n.popsection\n",
        )
    };
}

/// Defines the sequences for CPUs' numbers of a kind, which are `at` an offset.
/// `arm` is how they are announced to the kernel and `abort` what the handler
/// does: tests break one or the other.
macro_rules! sequences {
    (
        $(#[$doc:meta])*
        $name:ident: $numbers:ident,
        at: $at:literal,
        arm: $arm:literal,
        abort: $abort:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::linux) struct $name;

        // SAFETY: see the module: each is announced before its first load of
        // the CPU's state, and ends in its only store to it.
        unsafe impl Sequences for $name {
            const NUMBERS: Numbers = Numbers::$numbers;

            #[inline(always)]
            unsafe fn pop(area: isize, entries: &[Entry], class: Class) -> *mut u8 {
                let object: *mut u8;
                // SAFETY: by the contract; what it reads through a top is a
                // sheaf's (C2), what it stores is its top's CPU's.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "lea {t}, [rip + 9b]",
                        $arm,
                        "3:",
                        concat!("mov {n:e}, dword ptr fs:[{area} + ", $at, "]"),
                        "mov {t}, qword ptr [{entries} + 8*{n}]",
                        "mov {n}, qword ptr [{t} + 8*{class}]",
                        "mov {object}, qword ptr [{n} - 8]",
                        "test {object:l}, 1",
                        "jne 6f",
                        "sub qword ptr [{t} + 8*{class}], 8",
                        "4:",
                        handler!($abort),
                        // A mark: out of the way as well.
                        ".pushsection .text.granule_rseq_abort, \"ax\", @progbits",
                        "6:",
                        "xor {object:e}, {object:e}",
                        "jmp 4b",
                        ".popsection",
                        area = in(reg) area,
                        entries = in(reg) entries.as_ptr(),
                        class = in(reg) class.index(),
                        t = out(reg) _,
                        n = out(reg) _,
                        object = out(reg) object,
                        options(nostack),
                    );
                }
                object
            }

            #[inline(always)]
            unsafe fn push(area: isize, entries: &[Entry], class: Class, object: *mut u8) -> bool {
                // SAFETY: as above; the word at a top that is no mark is free.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "lea {t}, [rip + 9b]",
                        $arm,
                        "3:",
                        concat!("mov {n:e}, dword ptr fs:[{area} + ", $at, "]"),
                        "mov {t}, qword ptr [{entries} + 8*{n}]",
                        "mov {n}, qword ptr [{t} + 8*{class}]",
                        "test byte ptr [{n}], 1",
                        "jne {miss}",
                        "mov qword ptr [{n}], {object}",
                        "add {n}, 8",
                        "mov qword ptr [{t} + 8*{class}], {n}",
                        "4:",
                        handler!($abort),
                        area = in(reg) area,
                        entries = in(reg) entries.as_ptr(),
                        class = in(reg) class.index(),
                        object = in(reg) object,
                        t = out(reg) _,
                        n = out(reg) _,
                        miss = label { return false },
                        options(nostack),
                    );
                }
                true
            }

            unsafe fn swap(
                area: isize,
                entries: &[Entry],
                class: Class,
                expected: Top,
                new: Top,
            ) -> bool {
                let done: u32;
                // SAFETY: as above; `STOPPED` is left alone.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "lea {t}, [rip + 9b]",
                        $arm,
                        "3:",
                        "xor {done:e}, {done:e}",
                        concat!("mov {n:e}, dword ptr fs:[{area} + ", $at, "]"),
                        "mov {t}, qword ptr [{entries} + 8*{n}]",
                        "cmp {t}, {stopped}",
                        "je 4f",
                        "cmp qword ptr [{t} + 8*{class}], {expected}",
                        "jne 4f",
                        "mov {done:e}, 1",
                        "mov qword ptr [{t} + 8*{class}], {new}",
                        "4:",
                        handler!($abort),
                        area = in(reg) area,
                        entries = in(reg) entries.as_ptr(),
                        class = in(reg) class.index(),
                        stopped = in(reg) stopped(),
                        expected = in(reg) expected.as_ptr(),
                        new = in(reg) new.as_ptr(),
                        t = out(reg) _,
                        n = out(reg) _,
                        done = out(reg) done,
                        options(nostack),
                    );
                }
                done != 0
            }
        }
    };
}

sequences!(
    /// By `mm_cid`.
    Dense: Dense,
    at: "24",
    arm: "mov qword ptr fs:[{area} + 8], {t}",
    abort: "jmp 2b"
);

sequences!(
    /// By `cpu_id`, for kernels that have no better.
    Physical: Physical,
    at: "4",
    arm: "mov qword ptr fs:[{area} + 8], {t}",
    abort: "jmp 2b"
);

#[cfg(test)]
pub(super) mod broken {
    //! Sequences that are not restarted: the stress test has to see it.
    use super::*;

    sequences!(
        /// Never announced to the kernel.
        Unarmed: Dense,
        at: "24",
        arm: "/* {area} {t} */",
        abort: "jmp 2b"
    );

    sequences!(
        /// Cut short, and taken for done.
        Skipped: Dense,
        at: "24",
        arm: "mov qword ptr fs:[{area} + 8], {t}",
        abort: "jmp 4b"
    );
}
