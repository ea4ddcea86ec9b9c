/* refuse.h: system calls that the kernel refuses from now on. */
#ifndef REFUSE_H
#define REFUSE_H

#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Some calls of one system call: those whose argument `argument` (its low
 * half), under `mask`, is `value`. A mask of 0 means all. */
struct refused {
    const char *name;
    int number;
    int argument;
    uint32_t mask, value;
    int error;
};

/* For this process, what it becomes by exec, and its children; for good. */
static inline void refuse(const struct refused *what)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)what->number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)what->argument)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, what->mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what->value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)what->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    CHECK_OP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    CHECK_OP(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

#endif
