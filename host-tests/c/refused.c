/* Each system call that the library makes, refused from the start of the
 * program or in its middle: what is asked for may be null, with ENOMEM, and
 * nothing that was handed out is harmed. */
#include "refuse.h"
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>

/* Preloaded, nothing is known of it when the program is linked. */
#pragma weak granule_check
#pragma weak granule_get_stats

/* The library's mappings alone: the C library's lack MAP_NORESERVE, and its
 * loader makes pages readable only. */
#define OURS MAP_NORESERVE

#define CALLS(_)                                                          \
    _(mmap, 3, OURS, OURS, ENOMEM)                                        \
    _(munmap, 0, 0, 0, ENOMEM)                                            \
    _(mprotect, 2, PROT_WRITE, PROT_WRITE, ENOMEM)                        \
    _(madvise, 0, 0, 0, ENOMEM)                                           \
    _(mremap, 0, 0, 0, ENOMEM)                                            \
    _(mincore, 0, 0, 0, ENOMEM)                                           \
    _(prlimit64, 0, 0, 0, ENOMEM)                                         \
    _(sched_getaffinity, 0, 0, 0, ENOMEM)                                 \
    _(getcpu, 0, 0, 0, ENOMEM)                                            \
    _(membarrier, 0, 0, 0, EPERM)                                         \
    _(rseq, 0, 0, 0, EPERM)                                               \
    _(gettid, 0, 0, 0, ENOMEM)                                            \
    _(sched_yield, 0, 0, 0, EPERM)                                        \
    _(rt_sigaction, 0, 0, 0, EPERM)

/* What errno was before a call that succeeds or frees, it is after it, whatever has
 * been refused underneath. */
#define SENTINEL 12345

static void free_keeps_errno(void *data)
{
    errno = SENTINEL;
    free(data);
    CHECK_OP(errno, ==, SENTINEL);
}

static void check_errno_of(const void *data)
{
    CHECK_OP(errno, ==, data == NULL ? ENOMEM : SENTINEL);
}

/* Blocks that may be refused, all verified. Returns how many were. */
static size_t work(struct block *blocks, size_t count, size_t steps, size_t max, uint64_t *rng)
{
    size_t failures = 0;
    for (size_t step = 0; step < steps; step++) {
        struct block *block = &blocks[next_random(rng) % count];
        uint64_t seed = next_random(rng);
        size_t size = random_size(rng, max);
        if (block->data == NULL) {
            errno = SENTINEL;
            void *data = seed % 4 ? malloc(size) : calloc(1, size);
            check_errno_of(data);
            if (data == NULL) {
                failures++;
                continue;
            }
            if (seed % 4 == 0)
                verify_zero(data, size);
            free_keeps_errno(data);
            data = malloc(size);
            check_errno_of(data);
            if (data == NULL)
                continue;
            *block = (struct block){data, size, seed};
            fill(data, 0, size < BLOCK_FILLED ? size : BLOCK_FILLED, seed);
            if (size >= 2 * BLOCK_FILLED)
                fill((char *)data + size - BLOCK_FILLED, 0, BLOCK_FILLED, seed);
        } else if (seed % 3 == 0 && block->size >= 16) {
            /* All of what is kept of a large block was not filled. */
            size_t kept = block->size < BLOCK_FILLED ? block->size : BLOCK_FILLED;
            block_verify(block);
            errno = SENTINEL;
            void *data = realloc(block->data, size + BLOCK_FILLED);
            check_errno_of(data);
            if (data == NULL) {
                failures++;
                block_verify(block);
                continue;
            }
            verify(data, kept < size ? kept : size, block->seed);
            *block = (struct block){data, size + BLOCK_FILLED, seed};
            fill(data, 0, BLOCK_FILLED, seed);
            if (block->size >= 2 * BLOCK_FILLED)
                fill((char *)data + size, 0, BLOCK_FILLED, seed);
        } else {
            block_verify(block);
            free_keeps_errno(block->data);
            block->data = NULL;
        }
    }
    return failures;
}

static void whole(void)
{
    char text[128];
    if (granule_check(text, sizeof text) == 0)
        return;
    dprintf(2, "%s\n", text);
    _exit(1);
}

enum { BLOCKS = 400, STEPS = 2000 };

static void *work_in_a_thread(void *argument)
{
    struct block blocks[40] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    work(blocks, 40, STEPS / 4, 100 * KIB, &rng);
    blocks_free(blocks, 40);
    return NULL;
}

/* glibc ends a process in which a new thread cannot register its area, unless
 * it was told to leave areas alone. */
static int threads_may_start = 1;

static void mind_the_c_library(const struct refused *what)
{
    const char *tunables = getenv("GLIBC_TUNABLES");
    int leaves_areas = tunables != NULL && strstr(tunables, "rseq=0") != NULL;
    threads_may_start = what->number != SYS_rseq || leaves_areas;
}

/* A program's life, with threads where their stacks can be had. */
static size_t live(struct block *blocks, uint64_t *rng)
{
    size_t failures = 0;
    pthread_t threads[4];
    int started = 0;

    failures += work(blocks, BLOCKS, STEPS, 8 * KIB, rng);
    while (threads_may_start && started < 4 &&
           pthread_create(&threads[started], NULL, work_in_a_thread, threads + started) == 0)
        started++;
    failures += work(blocks, BLOCKS, STEPS / 8, 3 * MIB, rng);
    malloc_trim(0);
    failures += work(blocks, BLOCKS, STEPS, 40 * KIB, rng);
    while (started > 0)
        join(threads[--started]);
    whole();
    return failures;
}

/* Bytes of live blocks, without those that wait to be used again. */
static size_t held(void)
{
    struct granule_stats stats;
    malloc_trim(0);
    CHECK_OP(granule_get_stats(&stats), ==, 0);
    return stats.live_bytes;
}

static struct block blocks[BLOCKS];

static void in_the_middle(const struct refused *what)
{
    uint64_t rng = 41;
    size_t before, after;
    void *kept;

    CHECK_OP(live(blocks, &rng), ==, 0);
    kept = malloc(1000);
    fill(kept, 0, 1000, 5);
    refuse(what);
    mind_the_c_library(what);
    live(blocks, &rng);
    verify(kept, 1000, 5);
    free(kept);
    blocks_free(blocks, BLOCKS);
    whole();
    /* What was freed serves again. */
    for (int i = 0; i < 100; i++)
        block_new(&blocks[i], 100, i);
    blocks_free(blocks, BLOCKS);
    before = held();
    live(blocks, &rng);
    blocks_free(blocks, BLOCKS);
    after = held();
    /* The C library keeps a little for the threads it has cached stacks of; and
     * in the tier full a block between guard pages stays inaccessible, for good,
     * where it cannot be made accessible. */
    const char *tier = getenv("GRANULE_CHECK");
    if (what->number != SYS_mprotect || tier == NULL || strcmp(tier, "full") != 0)
        CHECK_OP(after, <=, before + 64 * KIB);
    whole();
}

/* Null in static programs. */
#pragma weak _DYNAMIC
extern char _DYNAMIC[];

/* The same program anew, where the call is refused from its first instruction. */
static void from_the_start(const struct refused *what)
{
    char *arguments[] = {(char *)"refused", (char *)"a_life", NULL};
    int memory = what->number == SYS_mmap || what->number == SYS_mprotect;
    /* A static program's C library ends it when its first malloc is null. */
    if (memory && HIDE(&_DYNAMIC[0]) == NULL)
        return;
    refuse(what);
    execv("/proc/self/exe", arguments);
    CHECK(!"exec");
}

CASE(a_life)
{
    uint64_t rng = 43;
    live(blocks, &rng);
    blocks_free(blocks, BLOCKS);
    malloc_trim(0);
    live(blocks, &rng);
    blocks_free(blocks, BLOCKS);
    whole();
}

#define BOTH(call, argument, mask, value, error)                                     \
    CASE(call##_in_the_middle)                                                       \
    {                                                                                \
        in_the_middle(&(struct refused){#call, SYS_##call, argument, mask, value, error}); \
    }                                                                                \
    CASE(call##_from_the_start)                                                      \
    {                                                                                \
        from_the_start(&(struct refused){#call, SYS_##call, argument, mask, value, error}); \
    }
CALLS(BOTH)

/* Overcommit switched off, and nothing left: address space can be had, memory
 * cannot. Blocks from before live on, and serve again when freed. */
CASE(no_memory_behind_address_space)
{
    uint64_t rng = 47;
    struct block mine[64] = {{NULL, 0, 0}};
    for (int i = 0; i < 64; i++)
        block_new(&mine[i], 10000, next_random(&rng));
    refuse(&(struct refused){"mprotect", SYS_mprotect, 2, PROT_WRITE, PROT_WRITE, ENOMEM});
    errno = 0;
    CHECK(malloc(64 * MIB) == NULL);
    CHECK_OP(errno, ==, ENOMEM);
    CHECK(realloc(mine[0].data, 64 * MIB) == NULL);
    block_verify(&mine[0]);
    for (int round = 0; round < 100; round++) {
        blocks_free(mine, 64);
        for (int i = 0; i < 64; i++)
            block_new(&mine[i], 10000, next_random(&rng));
    }
    blocks_free(mine, 64);
    whole();
}
