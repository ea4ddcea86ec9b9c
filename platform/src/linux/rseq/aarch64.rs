//! The sequences for aarch64. See `x86_64.rs` for their plan, which is the
//! same: 2 is the start, 3 to 4 the sequence, 5 the handler, 9 the descriptor.
//!
//! What differs: two instructions name the descriptor; the thread pointer is a
//! register to be read, so areas are addressed from it before; and a branch to
//! a label outside the assembly would not reach far enough, so a push says in
//! a register whether it missed, too.
//!
//! Memory is weakly ordered, and no barrier is needed on a hit. What a CPU's
//! own threads stored they see in order; an entry, the tops behind it and the
//! sheaf behind them are loaded each through the last, which orders the loads
//! after a `restart` or `attach` on another CPU; and a drain on another CPU
//! comes after `membarrier`.

use core::arch::asm;
use core::sync::atomic::Ordering;

use granule_core::base::class::Class;
use granule_core::cache::sheaf::Top;

use super::super::front::OPEN_BELOW;
use super::{Entry, Numbers, Sequences, stopped};

/// The kernel's word before every abort handler: `brk #0x45e0`.
pub(super) const SIGNATURE: u32 = 0xd428_bc00;

/// The thread pointer.
#[inline]
pub(super) fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {p}, tpidr_el0", p = out(reg) pointer,
            options(pure, nomem, nostack, preserves_flags));
    }
    pointer
}

/// Offset of our area from the thread pointer.
pub(super) fn own_offset() -> isize {
    let offset: isize;
    // SAFETY: reads a constant of the loader's.
    unsafe {
        asm!(
            "adrp {o}, :gottprel:granule_rseq_area_0_1",
            "ldr {o}, [{o}, :gottprel_lo12:granule_rseq_area_0_1]",
            o = out(reg) offset,
            options(pure, readonly, nostack, preserves_flags)
        );
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
            "adrp {o}, :got:__rseq_offset",
            "ldr {o}, [{o}, :got_lo12:__rseq_offset]",
            "adrp {s}, :got:__rseq_size",
            "ldr {s}, [{s}, :got_lo12:__rseq_size]",
            o = out(reg) offset,
            s = out(reg) size,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    (offset, size)
}

/// Whether `size` is below [`OPEN_BELOW`], loaded with Acquire.
#[inline(always)]
pub(in crate::linux) fn is_open_for(size: usize) -> bool {
    // Acquire: pairs with the Release in `front::open`.
    size < OPEN_BELOW.load(Ordering::Acquire)
}

/// Names 3..4 as the sequence and 5 as its handler.
macro_rules! descriptor {
    () => {
        concat!(
            ".pushsection __rseq_cs, \"aw\", %progbits\n",
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
            ".pushsection .text.granule_rseq_abort, \"ax\", %progbits\n",
            ".inst 0xd428bc00\n",
            "5:\n",
            $abort,
            "\n.popsection\n",
        )
    };
}

/// The calling thread's area.
#[inline(always)]
fn address(area: isize) -> *mut u8 {
    thread_pointer().wrapping_offset(area)
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
                let area = address(area);
                let object: *mut u8;
                // SAFETY: by the contract; what it reads through a top is a
                // sheaf's (C2), what it stores is its top's CPU's.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "adrp {t}, 9b",
                        "add {t}, {t}, :lo12:9b",
                        $arm,
                        "3:",
                        concat!("ldr {n:w}, [{area}, #", $at, "]"),
                        "ldr {t}, [{entries}, {n}, lsl #3]",
                        "ldr {n}, [{t}, {class}, lsl #3]",
                        "ldr {there}, [{n}, #-8]!",
                        "mov {object}, xzr",
                        "tbnz {there}, #0, 4f",
                        "mov {object}, {there}",
                        "str {n}, [{t}, {class}, lsl #3]",
                        "4:",
                        handler!($abort),
                        area = in(reg) area,
                        entries = in(reg) entries.as_ptr(),
                        class = in(reg) class.index(),
                        t = out(reg) _,
                        n = out(reg) _,
                        there = out(reg) _,
                        object = out(reg) object,
                        options(nostack),
                    );
                }
                object
            }

            #[inline(always)]
            unsafe fn push(area: isize, entries: &[Entry], class: Class, object: *mut u8) -> bool {
                let area = address(area);
                let there: usize;
                // SAFETY: as above; the word at a top that is no mark is free.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "adrp {t}, 9b",
                        "add {t}, {t}, :lo12:9b",
                        $arm,
                        "3:",
                        concat!("ldr {n:w}, [{area}, #", $at, "]"),
                        "ldr {t}, [{entries}, {n}, lsl #3]",
                        "ldr {n}, [{t}, {class}, lsl #3]",
                        "ldr {there}, [{n}]",
                        "tbnz {there}, #0, 4f",
                        "str {object}, [{n}], #8",
                        "str {n}, [{t}, {class}, lsl #3]",
                        "4:",
                        handler!($abort),
                        area = in(reg) area,
                        entries = in(reg) entries.as_ptr(),
                        class = in(reg) class.index(),
                        object = in(reg) object,
                        t = out(reg) _,
                        n = out(reg) _,
                        there = out(reg) there,
                        options(nostack),
                    );
                }
                there & 1 == 0
            }

            unsafe fn swap(
                area: isize,
                entries: &[Entry],
                class: Class,
                expected: Top,
                new: Top,
            ) -> bool {
                let area = address(area);
                let done: usize;
                // SAFETY: as above; `STOPPED` is left alone.
                unsafe {
                    asm!(
                        descriptor!(),
                        "2:",
                        "adrp {t}, 9b",
                        "add {t}, {t}, :lo12:9b",
                        $arm,
                        "3:",
                        "mov {done}, xzr",
                        concat!("ldr {n:w}, [{area}, #", $at, "]"),
                        "ldr {t}, [{entries}, {n}, lsl #3]",
                        "cmp {t}, {stopped}",
                        "b.eq 4f",
                        "ldr {n}, [{t}, {class}, lsl #3]",
                        "cmp {n}, {expected}",
                        "b.ne 4f",
                        "mov {done}, #1",
                        "str {new}, [{t}, {class}, lsl #3]",
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
    arm: "str {t}, [{area}, #8]",
    abort: "b 2b"
);

sequences!(
    /// By `cpu_id`, for kernels that have no better.
    Physical: Physical,
    at: "4",
    arm: "str {t}, [{area}, #8]",
    abort: "b 2b"
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
        abort: "b 2b"
    );

    sequences!(
        /// Cut short, and taken for done.
        Skipped: Dense,
        at: "24",
        arm: "str {t}, [{area}, #8]",
        abort: "b 4b"
    );
}
