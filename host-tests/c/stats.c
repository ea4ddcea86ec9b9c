/* granule's own functions, and that it is granule which serves. */
#include "threads.h"

#include <malloc.h>

#include "granule.h"

/* Weak: a program to be preloaded is linked without the library. */
#pragma weak granule_version
#pragma weak granule_get_stats

static struct granule_stats stats(void)
{
    struct granule_stats now;
    memset(&now, 0xee, sizeof now);
    CHECK_OP(granule_get_stats(&now), ==, 0);
    CHECK_OP(now.live_bytes + now.cached_bytes + now.free_bytes, <=, now.committed);
    CHECK_OP(now.committed, <=, now.mapped);
    CHECK_OP(now.large_bytes, <=, now.live_bytes);
    return now;
}

CASE(the_version_has_three_numbers)
{
    unsigned major, minor, patch;
    char rest;
    CHECK(granule_version != NULL);
    CHECK_OP(sscanf(granule_version(), "%u.%u.%u%c", &major, &minor, &patch, &rest), ==, 3);
}

CASE(null_is_refused)
{
    errno = 0;
    CHECK_OP(granule_get_stats(HIDE((struct granule_stats *)NULL)), ==, -1);
    CHECK_OP(errno, ==, EINVAL);
}

CASE(large_blocks_are_counted)
{
    struct granule_stats before = stats();
    void *block = malloc(32 * MIB);
    CHECK(block != NULL);
    size_t usable = malloc_usable_size(block);
    struct granule_stats during = stats();
    CHECK_OP(during.live_bytes - before.live_bytes, ==, usable);
    CHECK_OP(during.large_bytes - before.large_bytes, ==, usable);
    CHECK_OP(during.regions, >, 0);
    free(block);
    struct granule_stats after = stats();
    CHECK_OP(after.live_bytes, ==, before.live_bytes);
    CHECK_OP(after.large_bytes, ==, before.large_bytes);
}

CASE(small_blocks_are_counted)
{
    enum { COUNT = 10000 };
    static void *blocks[COUNT];
    struct granule_stats before = stats();
    size_t usable = 0;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(1 + (size_t)i % 1000);
        usable += malloc_usable_size(blocks[i]);
    }
    struct granule_stats during = stats();
    CHECK_OP(during.live_bytes - before.live_bytes, ==, usable);
    CHECK_OP(during.large_bytes, ==, before.large_bytes);
    CHECK_OP(during.slabs, >, before.slabs);
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    CHECK_OP(stats().live_bytes, ==, before.live_bytes);
}

static void *use(void *argument)
{
    struct block blocks[100] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 100, 20000, 16 * KIB, &rng);
    blocks_free(blocks, 100);
    return NULL;
}

CASE(nothing_is_lost_over_threads)
{
    pthread_t threads[8];
    struct granule_stats before, after;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 8; i++)
            threads[i] = start(use, (void *)i);
        for (size_t i = 0; i < 8; i++)
            join(threads[i]);
        if (round == 0)
            before = stats(); /* the C library keeps a little per thread */
    }
    after = stats();
    /* A cache for each CPU, or for each thread that lives: 40 have ended. */
    size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_CONF);
    CHECK_OP(after.threads, >=, 1);
    CHECK_OP(after.threads, <=, cpus > 9 ? cpus : 9);
    CHECK_OP(after.live_bytes, <=, before.live_bytes + 16 * KIB);
}

CASE(statistics_may_be_read_at_any_time)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(use, (void *)i);
    for (int i = 0; i < 2000; i++) {
        struct granule_stats now;
        CHECK_OP(granule_get_stats(&now), ==, 0);
        CHECK_OP(now.mapped, >, 0);
    }
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
}

CASE(trim_empties_the_caches_of_this_thread)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i] = malloc(500), 1, 500);
    size_t full = resident();
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    CHECK_OP(malloc_trim(0), ==, 1);
    struct granule_stats after = stats();
    CHECK_OP(after.cached_bytes, <=, 64 * KIB);
    CHECK_OP(after.live_bytes, <, 1000 * 500);
    CHECK_OP(resident(), <, full - 8 * MIB);
}
