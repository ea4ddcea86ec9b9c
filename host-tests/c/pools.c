/* Pools whose memory comes from other heaps, at a fork, too, and pools that never
 * give memory back. */
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Weak: a program to be preloaded is linked without the library. */
#pragma weak granule_heap_new_with
#pragma weak granule_heap_destroy
#pragma weak granule_heap_malloc
#pragma weak granule_heap_aligned_alloc
#pragma weak granule_heap_free
#pragma weak granule_heap_of
#pragma weak granule_heap_contains
#pragma weak granule_heap_get_stats
#pragma weak granule_pool_create
#pragma weak granule_pool_reset
#pragma weak granule_pool_destroy

/* Where a pool's memory comes from: a heap, or the system as long as that is null. */
struct source {
    granule_heap_t *heap;
    size_t calls;
    size_t bytes;
};

static void *take(void *context, size_t *bytes)
{
    struct source *source = (struct source *)context;
    source->calls++;
    source->bytes += *bytes;
    if (source->heap != NULL)
        return granule_heap_aligned_alloc(source->heap, 4096, *bytes);
    void *memory =
        mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int give(void *context, void *start, size_t bytes)
{
    struct source *source = (struct source *)context;
    source->bytes -= bytes;
    if (source->heap == NULL || !granule_heap_contains(source->heap, start))
        return munmap(start, bytes);
    granule_heap_free(source->heap, start);
    return 0;
}

static granule_pool_t *pool_on(struct source *source, size_t cap, int gives)
{
    struct granule_pool_policy policy = {take, gives ? give : NULL, source, 0, cap};
    granule_pool_t *pool;
    CHECK_OP(granule_pool_create(&policy, &pool), ==, 0);
    return pool;
}

/* A block of the pool's that lies in memory of a heap that was made after it. */
CASE(a_pool_owns_its_blocks_whichever_heap_is_newer)
{
    static const size_t SIZES[] = {100, 5000, 40000, 3 * MIB};
    struct source source = {0};
    granule_pool_t *pool = pool_on(&source, 0, 1);
    granule_heap_t *heap = source.heap = granule_heap_new_with(0, NULL);
    for (int i = 0; i < 4; i++) {
        void *block;
        do
            block = granule_heap_malloc(pool, SIZES[i]);
        while (block != NULL && !granule_heap_contains(heap, block));
        CHECK(block != NULL && granule_heap_contains(pool, block));
        CHECK(granule_heap_of(block) == pool);
        CHECK_OP(malloc_usable_size(block), >=, SIZES[i]);
        block = realloc(block, 2 * SIZES[i]);
        CHECK(block != NULL && granule_heap_of(block) == pool);
        free(block);
        void *outer = granule_heap_malloc(heap, SIZES[i]);
        CHECK(outer != NULL && granule_heap_of(outer) == heap);
        free(outer);
    }
    /* One inside of the pool is further in than both. */
    granule_heap_t *inner = granule_heap_new_with(0, pool);
    void *block = granule_heap_malloc(inner, 3 * MIB);
    CHECK(granule_heap_contains(heap, block) && granule_heap_contains(pool, block));
    CHECK(granule_heap_of(block) == inner);
    free(block);
    CHECK_OP(granule_heap_destroy(inner), ==, 0);
    CHECK_OP(granule_pool_reset(pool), ==, 0);
    CHECK_OP(source.bytes, ==, 0);
    CHECK_OP(granule_pool_destroy(pool), ==, 0);
    CHECK_OP(granule_heap_destroy(heap), ==, 0);
}

/* Up to `most` blocks; returns how many there are. */
static size_t fill_pool(granule_pool_t *pool, size_t most)
{
    size_t count = 0;
    for (; count < most; count++) {
        void *block = granule_heap_malloc(pool, 1000);
        if (block == NULL)
            break;
        memset(block, 1, 1000);
    }
    return count;
}

static uint64_t mapped(granule_pool_t *pool)
{
    struct granule_stats now;
    CHECK_OP(granule_heap_get_stats(pool, &now), ==, 0);
    return now.mapped;
}

/* The pool keeps it, and is as new for all that. */
CASE(a_pool_that_gives_nothing_back_is_reset_as_often_as_wanted)
{
    for (size_t cap = 0; cap <= 4 * MIB; cap += 4 * MIB) {
        struct source source = {0};
        granule_pool_t *pool = pool_on(&source, cap, 0);
        size_t first = fill_pool(pool, cap == 0 ? 6000 : SIZE_MAX);
        size_t calls = source.calls;
        uint64_t held = mapped(pool);
        CHECK(first > 3000 && held == source.bytes);
        for (int round = 0; round < 100; round++) {
            CHECK_OP(granule_pool_reset(pool), ==, 0);
            CHECK_OP(mapped(pool), ==, held);
            CHECK_OP(fill_pool(pool, first), ==, first);
            CHECK(cap == 0 || granule_heap_malloc(pool, 100 * KIB) == NULL);
        }
        CHECK_OP(source.calls, ==, calls);
        CHECK_OP(source.bytes, ==, held);
        CHECK_OP(granule_pool_destroy(pool), ==, 0);
    }
}

static int stop;

/* Makes a capped pool, or a heap inside of one, take and give back memory. */
static void grow(granule_heap_t *heap)
{
    void *blocks[8];
    CHECK(granule_heap_malloc(heap, 64 * MIB) == NULL);
    for (int i = 0; i < 8; i++)
        CHECK((blocks[i] = granule_heap_malloc(heap, 500 * KIB)) != NULL);
    for (int i = 0; i < 8; i++)
        granule_heap_free(heap, blocks[i]);
}

static void *grow_on(void *heap)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        grow((granule_heap_t *)heap);
    return NULL;
}

/* Two pools and heaps around them, in an order that is none of their ages. */
CASE(a_fork_waits_for_pools_whose_memory_is_a_newer_heaps)
{
    struct source of_first = {0}, of_second = {0};
    alarm(25); /* a deadlock in the parent */
    granule_pool_t *first = pool_on(&of_first, 60 * MIB, 1);
    granule_pool_t *second = pool_on(&of_second, 12 * MIB, 1);
    of_second.heap = first;
    /* What is reset is no newer for that. */
    CHECK_OP(granule_pool_reset(first), ==, 0);
    granule_heap_t *inner = granule_heap_new_with(12 * MIB, first);
    of_first.heap = granule_heap_new_with(0, NULL);
    granule_heap_t *heaps[] = {first, second, inner};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = start(grow_on, heaps[i]);
    for (size_t i = 0; i < 150 * scale(); i++) {
        pid_t child = fork();
        int status;
        CHECK(child >= 0);
        if (child == 0) {
            alarm(15);
            for (int j = 0; j < 3; j++)
                CHECK(granule_heap_malloc(heaps[j], 100) != NULL);
            _exit(0);
        }
        CHECK_OP(waitpid(child, &status, 0), ==, child);
        CHECK_OP(status, ==, 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        join(threads[i]);
}
