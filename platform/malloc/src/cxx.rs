//! The C++ operators new and delete, in all their forms.
//!
//! The forms without exceptions are the C++ library's own: they call the
//! throwing ones and catch.
//!
//! Failing `new` calls the program's new-handler until there is memory, and
//! throws `std::bad_alloc` when there is no handler. Handler and throw unwind
//! through the operator, which Rust functions of this library must not be
//! part of; so the throwing forms are a few instructions of assembly with
//! unwind information of their own. libstdc++ is found through weak symbols:
//! C programs do without. A static link takes them from the archive only when
//! something else needs them, or when told to by
//! `-Wl,-u,_ZSt17__throw_bad_allocv`; else a failing `new` ends the program
//! with a report.
//!
//! Sized `delete` ignores the size: programs that delete through a base class
//! without a virtual destructor are wrong, common, and work elsewhere. The
//! look-up costs about a nanosecond.

use core::arch::naked_asm;
use core::ffi::c_void;

use crate::aligned::new_aligned;
use crate::standard::{free, malloc};

core::arch::global_asm!(".weak _ZSt15get_new_handlerv", ".weak _ZSt17__throw_bad_allocv");

/// Where there is no C++ library to throw.
extern "C" fn no_memory() -> ! {
    crate::end(b"granule: operator new: out of memory, and no C++ library to throw\n")
}

/// A throwing form: `allocate(size, align)` until it succeeds.
#[cfg(target_arch = "x86_64")]
macro_rules! throwing {
    ($allocate:path) => {
        naked_asm!(
            ".cfi_startproc",
            "push rbx",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rbx, 0",
            "push r14",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset r14, 0",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "mov rbx, rdi",
            "mov r14, rsi",
            "2:",
            "call {allocate}",
            "test rax, rax",
            "jz 3f",
            "add rsp, 8",
            ".cfi_remember_state",
            ".cfi_adjust_cfa_offset -8",
            "pop r14",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore r14",
            "pop rbx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_restore rbx",
            "ret",
            ".cfi_restore_state",
            "3:",
            "mov rax, qword ptr [rip + _ZSt15get_new_handlerv@GOTPCREL]",
            "test rax, rax",
            "jz 4f",
            "call rax",
            "test rax, rax",
            "jz 4f",
            "call rax",
            "mov rdi, rbx",
            "mov rsi, r14",
            "jmp 2b",
            "4:",
            "mov rax, qword ptr [rip + _ZSt17__throw_bad_allocv@GOTPCREL]",
            "test rax, rax",
            "jz 5f",
            "call rax",
            "5:",
            "call {no_memory}",
            "ud2",
            ".cfi_endproc",
            allocate = sym $allocate,
            no_memory = sym no_memory,
        )
    };
}

/// A throwing form: `allocate(size, align)` until it succeeds.
#[cfg(target_arch = "aarch64")]
macro_rules! throwing {
    ($allocate:path) => {
        naked_asm!(
            ".cfi_startproc",
            "stp x29, x30, [sp, #-32]!",
            ".cfi_def_cfa_offset 32",
            ".cfi_offset x29, -32",
            ".cfi_offset x30, -24",
            "stp x19, x20, [sp, #16]",
            ".cfi_offset x19, -16",
            ".cfi_offset x20, -8",
            "mov x29, sp",
            "mov x19, x0",
            "mov x20, x1",
            "2:",
            "bl {allocate}",
            "cbz x0, 3f",
            "ldp x19, x20, [sp, #16]",
            "ldp x29, x30, [sp], #32",
            "ret",
            "3:",
            "adrp x9, :got:_ZSt15get_new_handlerv",
            "ldr x9, [x9, :got_lo12:_ZSt15get_new_handlerv]",
            "cbz x9, 4f",
            "blr x9",
            "cbz x0, 4f",
            "blr x0",
            "mov x0, x19",
            "mov x1, x20",
            "b 2b",
            "4:",
            "adrp x9, :got:_ZSt17__throw_bad_allocv",
            "ldr x9, [x9, :got_lo12:_ZSt17__throw_bad_allocv]",
            "cbz x9, 5f",
            "blr x9",
            "5:",
            "bl {no_memory}",
            "brk #1",
            ".cfi_endproc",
            allocate = sym $allocate,
            no_memory = sym no_memory,
        )
    };
}

/// `operator new(size)`.
///
/// # Safety
///
/// None beyond C++'s: may throw, so no frame of Rust's may be above.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _Znwm(size: usize) -> *mut c_void {
    throwing!(malloc)
}

/// `operator new[](size)`.
///
/// # Safety
///
/// As [`_Znwm`].
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _Znam(size: usize) -> *mut c_void {
    throwing!(malloc)
}

/// `operator new(size, align)`.
///
/// # Safety
///
/// As [`_Znwm`]; `align` is a power of two.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _ZnwmSt11align_val_t(size: usize, align: usize) -> *mut c_void {
    throwing!(new_aligned)
}

/// `operator new[](size, align)`.
///
/// # Safety
///
/// As [`_Znwm`]; `align` is a power of two.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _ZnamSt11align_val_t(size: usize, align: usize) -> *mut c_void {
    throwing!(new_aligned)
}

/// Defines forms of delete; all free.
macro_rules! delete {
    ($($name:ident($($argument:ident),*);)*) => {$(
        #[doc = concat!("Operator delete, `", stringify!($name), "`.")]
        ///
        /// # Safety
        ///
        /// Caller: null, or a live block of the matching operator new.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(pointer: *mut c_void, $($argument: usize),*) {
            $(let _ = $argument;)*
            // SAFETY: by the contract.
            unsafe { free(pointer) };
        }
    )*};
}

delete! {
    _ZdlPv();
    _ZdaPv();
    _ZdlPvm(size);
    _ZdaPvm(size);
    _ZdlPvRKSt9nothrow_t(nothrow);
    _ZdaPvRKSt9nothrow_t(nothrow);
    _ZdlPvSt11align_val_t(align);
    _ZdaPvSt11align_val_t(align);
    _ZdlPvmSt11align_val_t(size, align);
    _ZdaPvmSt11align_val_t(size, align);
    _ZdlPvSt11align_val_tRKSt9nothrow_t(align, nothrow);
    _ZdaPvSt11align_val_tRKSt9nothrow_t(align, nothrow);
}
