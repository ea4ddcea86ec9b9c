/* A filter that ends the program for every system call but those that README
 * says granule makes once the program has allocated, and those of the C
 * library's threads and of this program itself. */
#include "refuse.h"
#include "threads.h"

#include <granule.h>

#pragma weak granule_check

/* As README lists them. */
static const int granules[] = {
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap, SYS_mincore,
    SYS_prlimit64, SYS_membarrier, SYS_sched_yield, SYS_clock_gettime,
};

/* Starting, joining and leaving threads, writing and ending. */
static const int others[] = {
    SYS_clone3, SYS_clone, SYS_set_robust_list, SYS_rseq, SYS_futex, SYS_rt_sigprocmask,
    SYS_exit, SYS_exit_group, SYS_write, SYS_nanosleep, SYS_clock_nanosleep,
    SYS_rt_sigaction,
};

enum { GRANULES = sizeof granules / sizeof *granules, OTHERS = sizeof others / sizeof *others };

static void allow_only_these(void)
{
    struct sock_filter code[2 * (GRANULES + OTHERS) + 2];
    unsigned short at = 0;

    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                              offsetof(struct seccomp_data, nr));
    for (int i = 0; i < GRANULES + OTHERS; i++) {
        int number = i < GRANULES ? granules[i] : others[i - GRANULES];
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {at, code};
    CHECK_OP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    CHECK_OP(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

static void *use(void *argument)
{
    struct block blocks[64] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (int round = 0; round < 20; round++) {
        churn(blocks, 64, 400, round % 4 ? 16 * KIB : 3 * MIB, &rng);
        /* For looks and ticks, and what is drained and purged by them. */
        usleep(20000);
    }
    blocks_free(blocks, 64);
    return NULL;
}

CASE(what_readme_names_is_enough)
{
    free(malloc(100));
    allow_only_these();
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        threads[i] = start(use, (void *)i);
    use((void *)3);
    for (size_t i = 0; i < 3; i++)
        join(threads[i]);
    char *growing = NULL;
    for (size_t size = 1000; size < 32 * MIB; size *= 2) {
        growing = realloc(growing, size);
        CHECK(growing != NULL);
        growing[size - 1] = 1;
    }
    free(growing);
}

/* A control: the filter ends who asks for anything else. */
CASE(anything_else_ends_the_program)
{
    free(malloc(100));
    allow_only_these();
    (void)getppid();
}
