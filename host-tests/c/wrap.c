/* A program whose malloc counts and hands on to the next one: granule's. */
#include "threads.h"

#include <dlfcn.h>
#include <granule.h>

#ifndef LINKED
#pragma weak granule_check
#pragma weak granule_get_stats
#endif

static unsigned long mallocs, reallocs, frees;

static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    CHECK(function != NULL);
    return function;
}

void *malloc(size_t size)
{
    static void *(*forward)(size_t);
    if (forward == NULL)
        *(void **)&forward = next("malloc");
    __atomic_add_fetch(&mallocs, 1, __ATOMIC_RELAXED);
    return forward(size);
}

void free(void *block)
{
    static void (*forward)(void *);
    if (forward == NULL)
        *(void **)&forward = next("free");
    __atomic_add_fetch(&frees, 1, __ATOMIC_RELAXED);
    forward(block);
}

void *realloc(void *block, size_t size)
{
    static void *(*forward)(void *, size_t);
    if (forward == NULL)
        *(void **)&forward = next("realloc");
    __atomic_add_fetch(&reallocs, 1, __ATOMIC_RELAXED);
    return forward(block, size);
}

static void *use(void *argument)
{
    struct block blocks[64] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 64, 5000, 64 * KIB, &rng);
    blocks_free(blocks, 64);
    return NULL;
}

CASE(a_wrapper_hands_on_to_granule)
{
    pthread_t threads[4];
    struct granule_stats before, after;
    void *kept = malloc(3 * MIB);
    CHECK_OP(granule_get_stats(&before), ==, 0);
    CHECK_OP(before.large_bytes, >=, 3 * MIB);
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(use, (void *)i);
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
    CHECK_OP(mallocs, >, 8000);
    CHECK_OP(frees, >, 8000);
    CHECK_OP(granule_get_stats(&after), ==, 0);
    CHECK_OP(after.live_bytes, <=, before.live_bytes + 64 * KIB);
    free(kept);
    CHECK_OP(granule_check(NULL, 0), ==, 0);
}

/* Granule's functions call one another, not the program's: a wrapper that puts
 * something in front of its blocks would do it twice. */
CASE(granule_does_not_call_the_wrapper)
{
    unsigned long taken = mallocs, given = frees;
    void *block = realloc(HIDE(NULL), 100);
    CHECK(block != NULL);
    block = reallocarray(block, 20, 30);
    CHECK(block != NULL);
    CHECK(realloc(HIDE(block), 0) == NULL);
    CHECK_OP(reallocs, ==, 2);
    CHECK_OP(mallocs, ==, taken);
    CHECK_OP(frees, ==, given);
}
