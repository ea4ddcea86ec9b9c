/* A limit set before the program started, as `ulimit -v` does. */
#include "exhaust.h"

static size_t limit(void)
{
    struct rlimit limit;
    CHECK_OP(getrlimit(RLIMIT_AS, &limit), ==, 0);
    CHECK(limit.rlim_cur != RLIM_INFINITY);
    return limit.rlim_cur;
}

/* Part of the limit is the program's: its code, the libraries, the stack. */
CASE(every_size_exhausts_and_recovers) { exhaust(limit() - 24 * MIB); }

CASE(one_block_of_most_of_it)
{
    for (int i = 0; i < 100; i++) {
        void *block = malloc((limit() - 24 * MIB) / 2);
        CHECK(block != NULL);
        errno = 0;
        CHECK(malloc(limit()) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
        free(block);
    }
}

static void *use(void *argument)
{
    struct block blocks[100] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 100, 5000, 8 * KIB, &rng);
    blocks_free(blocks, 100);
    return NULL;
}

CASE(threads_work_under_the_limit)
{
    for (int round = 0; round < 5; round++) {
        pthread_t threads[8];
        for (size_t i = 0; i < 8; i++)
            threads[i] = start(use, (void *)i);
        for (size_t i = 0; i < 8; i++)
            join(threads[i]);
    }
}
