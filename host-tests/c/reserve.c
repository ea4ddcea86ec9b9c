/* Memory that GRANULE_RESERVE sets aside, as its user sees it. The test says
 * so in the environment: 64 MiB, with ",touch" for cases that say "touched". */
#include "blocks.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#define RESERVE (64 * MIB)

/* From here on a call that changes mappings ends the process. */
static void forbid_changes_of_memory(void)
{
#define FORBID(number)                                       \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),       \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        FORBID(SYS_mmap),
        FORBID(SYS_munmap),
        FORBID(SYS_mremap),
        FORBID(SYS_mprotect),
        FORBID(SYS_madvise),
        FORBID(SYS_brk),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    CHECK_OP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    CHECK_OP(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

static long faults(void)
{
    struct rusage usage;
    CHECK_OP(getrusage(RUSAGE_SELF, &usage), ==, 0);
    return usage.ru_minflt;
}

enum { COUNT = 4000 };
static struct block blocks[COUNT];

/* Some 40 MiB of blocks of 20 bytes to 40 KiB, then none of them; twice, and
 * idle between for longer than anything idle is kept. */
static void use(void)
{
    for (int round = 0; round < 3; round++) {
        uint64_t rng = 3;
        for (int i = 0; i < COUNT; i++) {
            block_new(&blocks[i], 20 + next_random(&rng) % (20 * KIB), i);
            memset(blocks[i].data, 1, blocks[i].size);
        }
        for (int i = 0; i < COUNT; i++) {
            free(blocks[i].data);
            blocks[i].data = NULL;
        }
        nanosleep(&(struct timespec){0, 150000000}, NULL);
        /* A free looks at what is idle. */
        for (int i = 0; i < 100; i++)
            free(malloc((40 + i) * KIB));
    }
}

CASE(touched_memory_is_there_from_the_start) { CHECK_OP(resident(), >=, RESERVE); }

CASE(touched_memory_is_used_without_a_fault_or_a_call)
{
    use();
    memset(blocks, 0, sizeof blocks);
    /* Once the library has seen all paths: its own data is touched. */
    long before = faults();
    forbid_changes_of_memory();
    use();
    /* Some pages for what the library keeps beside the blocks. */
    CHECK_OP(faults() - before, <=, 16);
    CHECK_OP(resident(), >=, RESERVE);
}

CASE(touched_memory_serves_the_first_use_with_few_faults)
{
    long before = faults();
    memset(blocks, 1, sizeof blocks);
    memset(blocks, 0, sizeof blocks);
    long own = faults() - before;
    forbid_changes_of_memory();
    before = faults();
    use();
    /* 40 MiB are 10,000 pages. */
    CHECK_OP(faults() - before, <=, 200 + own);
}

CASE(memory_is_committed_from_the_start)
{
    CHECK_OP(resident(), <=, 16 * MIB);
    forbid_changes_of_memory();
    use();
    /* What has been used stays. */
    CHECK_OP(resident(), >=, 30 * MIB);
}

CASE(nothing_is_set_aside)
{
    CHECK_OP(resident(), <=, 16 * MIB);
    long before = faults();
    use();
    CHECK_OP(faults() - before, >=, 5000);
}

/* More than can be had was asked for: what falls idle goes back as ever. */
CASE(what_is_idle_goes_back)
{
    use();
    /* Half of what was used, for what caches keep. */
    CHECK_OP(resident(), <=, 32 * MIB);
}

CASE(the_program_runs_all_the_same)
{
    CHECK_OP(resident(), <=, 16 * MIB);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 100; i++)
            block_new(&blocks[i], 10 * KIB, i);
        for (int i = 0; i < 100; i++)
            block_free(&blocks[i]);
    }
}
