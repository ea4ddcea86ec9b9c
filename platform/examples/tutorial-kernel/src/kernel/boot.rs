//! From the loader's 32-bit mode to Rust. (The x86/HVM direct boot ABI, "PVH":
//! QEMU's `-kernel` takes an ELF file with this note.)
//!
//! Low memory, 1 GiB of it, is mapped twice: where it is, for the image, and
//! at [`PHYSICAL_MEMORY`], for whoever knows a physical address.

use core::arch::global_asm;

/// Where all physical memory is mapped.
pub(crate) const PHYSICAL_MEMORY: u64 = 0xffff_8000_0000_0000;

/// How much of it.
pub(crate) const MAPPED_BYTES: u64 = 1 << 30;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18              // "Xen", 8 bytes, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .boot, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    movl %ebx, %edi             // the start information
    movl $level_4_table, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             // PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx      // EFER
    rdmsr
    orl $0x900, %eax            // LME, NXE
    wrmsr
    movl %cr0, %eax
    orl $0x80010000, %eax       // PG, WP
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_start

    .code64
long_start:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $stack_top, %esp
    movl %edi, %edi
    call {main}
    ud2

    .section .rodata.gdt, "a"
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 8: code, 64 bits
    .quad 0x00cf93000000ffff    // 16: data
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .data.tables, "aw"
    .balign 4096
level_4_table:
    .quad level_3_table + 3
    .fill 255, 8, 0
    .quad level_3_table + 3     // PHYSICAL_MEMORY
    .fill 255, 8, 0
level_3_table:
    .quad level_2_table + 3
    .fill 511, 8, 0
level_2_table:
    .set entry, 0x83            // present, writable, 2 MiB
    .rept 512
    .quad entry
    .set entry, entry + 0x200000
    .endr

    .section .bss.stack, "aw", @nobits
    .balign 16
    .skip 64 * 1024
stack_top:
"#,
    main = sym super::kernel_main,
    options(att_syntax)
);
