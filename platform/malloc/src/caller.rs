//! Who called: the address a door returns to, for reports.
//!
//! A door whose fast path misses *jumps* on, with the stack and registers as its
//! caller left them; so what it jumps to finds the caller's address where the
//! call put it. That takes an instruction of assembly, and costs nothing on the
//! fast path. Where the compiler makes a call of the jump, the address is one
//! inside this library: less use, no harm.

/// Defines a function (of one argument: a cold one) that calls the other with one argument
/// more, a `Caller`: the address that this one returns to.
macro_rules! with_caller {
    (
        $(#[$about:meta])*
        fn $name:ident($argument:ident: $type:ty) -> $result:ty => $target:ident;
    ) => {
        $(#[$about])*
        #[cold]
        #[unsafe(naked)]
        extern "C" fn $name($argument: $type) -> $result {
            // The second argument of C's functions, by the system's convention.
            #[cfg(all(target_arch = "x86_64", windows))]
            core::arch::naked_asm!(
                "mov rdx, qword ptr [rsp]",
                "jmp {target}",
                target = sym $target,
            );
            #[cfg(all(target_arch = "x86_64", not(windows)))]
            core::arch::naked_asm!(
                "mov rsi, qword ptr [rsp]",
                "jmp {target}",
                target = sym $target,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "mov x1, x30",
                "b {target}",
                target = sym $target,
            );
        }
    };
    (
        $(#[$about:meta])*
        fn $name:ident($first:ident: $one:ty, $second:ident: $other:ty) -> $result:ty => $target:ident;
    ) => {
        $(#[$about])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name($first: $one, $second: $other) -> $result {
            // The third argument.
            #[cfg(all(target_arch = "x86_64", windows))]
            core::arch::naked_asm!(
                "mov r8, qword ptr [rsp]",
                "jmp {target}",
                target = sym $target,
            );
            #[cfg(all(target_arch = "x86_64", not(windows)))]
            core::arch::naked_asm!(
                "mov rdx, qword ptr [rsp]",
                "jmp {target}",
                target = sym $target,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "mov x2, x30",
                "b {target}",
                target = sym $target,
            );
        }
    };
}

pub(crate) use with_caller;
