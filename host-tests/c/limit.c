/* A limit set while the program runs: null and ENOMEM, and memory comes back. */
#include "exhaust.h"

static void limit_to(size_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    CHECK_OP(setrlimit(RLIMIT_AS, &limit), ==, 0);
}

CASE(limited_while_running)
{
    void *kept = malloc(1000);
    fill(kept, 0, 1000, 1);
    limit_to(address_space() + 128 * MIB);
    exhaust(128 * MIB);
    verify(kept, 1000, 1);
    limit_to(RLIM_INFINITY);
    void *block = malloc(512 * MIB);
    CHECK(block != NULL);
    free(block);
    free(kept);
}

CASE(limited_after_heavy_use)
{
    static struct block blocks[5000];
    uint64_t rng = 3;
    churn(blocks, 5000, 100000, 16 * KIB, &rng);
    limit_to(address_space() + 64 * MIB);
    exhaust(64 * MIB);
    churn(blocks, 5000, 100000, 16 * KIB, &rng);
    blocks_free(blocks, 5000);
    exhaust(64 * MIB);
}

CASE(a_limit_at_what_is_used)
{
    enum { COUNT = 2000 };
    static struct block blocks[COUNT];
    void *list = NULL;
    for (int i = 0; i < COUNT; i++)
        block_new(&blocks[i], 10000, i);
    limit_to(address_space());
    take_all(&list, 10000);
    give_all(&list, 10000);
    blocks_free(blocks, COUNT);
    /* What was freed serves again, though nothing more can be had. */
    for (int i = 0; i < COUNT / 4; i++)
        block_new(&blocks[i], 10000, i);
    blocks_free(blocks, COUNT);
}

/* Below a limit the kernel refuses to move pages, after it has unmapped where they
 * should go to: blocks that have to move as they grow are copied then. */
CASE(a_limit_below_what_is_used)
{
    enum { COUNT = 8 };
    char *blocks[COUNT];
    size_t size = 300 * KIB;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(size);
        fill(blocks[i], 0, size, i);
    }
    limit_to(address_space() / 2);
    for (; size < 2 * MIB; size *= 2) {
        for (int i = 0; i < COUNT; i++) {
            char *grown = realloc(blocks[i], 2 * size);
            CHECK(grown != NULL);
            verify(grown, size, i);
            fill(grown, 0, 2 * size, i);
            blocks[i] = grown;
        }
    }
    limit_to(RLIM_INFINITY);
    for (int i = 0; i < COUNT; i++) {
        verify(blocks[i], size, i);
        free(blocks[i]);
    }
}

static pthread_barrier_t everyone;

static void *exhaust_together(void *argument)
{
    size_t size = (size_t[]){48, 500, 5000, 200 * KIB}[(uintptr_t)argument % 4];
    for (int cycle = 0; cycle < 6; cycle++) {
        void *list = NULL;
        pthread_barrier_wait(&everyone);
        take_all(&list, size);
        give_all(&list, size);
        pthread_barrier_wait(&everyone);
        if (argument == NULL) {
            void *block = malloc(16 * MIB);
            CHECK(block != NULL);
            free(block);
        }
    }
    return NULL;
}

CASE(threads_exhaust_memory_together)
{
    pthread_t threads[4];
    CHECK_OP(pthread_barrier_init(&everyone, NULL, 4), ==, 0);
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(exhaust_together, (void *)i);
    limit_to(address_space() + 96 * MIB);
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
}
