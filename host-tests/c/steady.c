/* A million iterations of a steady load: memory may not grow. */
#include "threads.h"

#define STEPS (1000000 * scale())

/* Memory now against memory at a tenth of the load. */
static void check_growth(size_t early)
{
    CHECK_OP(resident(), <=, steady_bound(early));
}

static void steady(size_t count, size_t max)
{
    struct block *blocks = calloc(count, sizeof *blocks);
    uint64_t rng = 5;
    churn(blocks, count, STEPS / 10, max, &rng);
    size_t early = resident();
    churn(blocks, count, STEPS - STEPS / 10, max, &rng);
    check_growth(early);
    blocks_free(blocks, count);
    free(blocks);
}

CASE(small_blocks) { steady(10000, KIB); }
CASE(blocks_of_all_sizes) { steady(1000, 64 * KIB); }

/* Large blocks of a fixed set of sizes, every page in use: two at a time are
 * freed and come back with their sizes exchanged, so what is live is always
 * the same. (With random sizes the most that was ever live goes on rising,
 * and memory with it, in any allocator.) */
CASE(large_blocks)
{
    enum { COUNT = 64 };
    static struct block blocks[COUNT];
    uint64_t rng = 9;
    size_t early = 0, steps = STEPS / 50;

    for (size_t i = 0; i < COUNT; i++)
        block_new(&blocks[i], 40 * KIB + i * i * KIB / 2, i);
    for (size_t step = 0; step < steps; step++) {
        struct block *one = &blocks[next_random(&rng) % COUNT];
        struct block *two = &blocks[next_random(&rng) % COUNT];
        size_t sizes[2] = {two->size, one->size};
        if (one == two)
            continue;
        block_free(one);
        block_free(two);
        block_new(one, sizes[0], step);
        block_new(two, sizes[1], step + 1);
        for (size_t at = 4 * KIB; at + 4 * KIB < one->size; at += 4 * KIB)
            ((char *)one->data)[at] = 1;
        for (size_t at = 4 * KIB; at + 4 * KIB < two->size; at += 4 * KIB)
            ((char *)two->data)[at] = 1;
        if (step == steps / 10)
            early = resident();
    }
    check_growth(early);
    blocks_free(blocks, COUNT);
}

CASE(reallocation)
{
    enum { COUNT = 500 };
    static struct block blocks[COUNT];
    uint64_t rng = 7;
    size_t early = 0;
    for (size_t step = 0; step < STEPS / 4; step++) {
        struct block *block = &blocks[next_random(&rng) % COUNT];
        size_t size = 1 + random_size(&rng, 32 * KIB);
        size_t kept = block->size < size ? block->size : size;
        block->data = realloc(block->data, size);
        CHECK(block->data != NULL);
        verify(block->data, kept < 64 ? kept : 64, block->seed);
        fill(block->data, 0, size < 64 ? size : 64, block->seed = step);
        block->size = size;
        if (step == STEPS / 40)
            early = resident();
    }
    check_growth(early);
}

/* The mix shifts from one size to another: memory of one must serve the next. */
CASE(shifting_sizes)
{
    enum { COUNT = 300000 };
    static struct block blocks[COUNT];
    size_t early = 0;
    for (size_t round = 0; round < 50; round++) {
        size_t size = 16 + round * 37 % 50 * 40;
        size_t count = COUNT * 16 / size;
        for (size_t i = 0; i < count; i++)
            block_new(&blocks[i], size, i);
        blocks_free(blocks, count);
        if (round == 10)
            early = resident();
    }
    check_growth(early);
}

static pthread_barrier_t everyone;

static void *load(void *argument)
{
    enum { COUNT = 1000 };
    struct block *blocks = calloc(COUNT, sizeof *blocks);
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (size_t step = 0; step < STEPS / 4; step += 100) {
        churn(blocks, COUNT, 80, 8 * KIB, &rng);
        for (int i = 0; i < 20; i++)
            post(&rng, 2 * KIB);
        if (step == STEPS / 40) {
            pthread_barrier_wait(&everyone);
            pthread_barrier_wait(&everyone);
        }
    }
    pthread_barrier_wait(&everyone);
    pthread_barrier_wait(&everyone);
    blocks_free(blocks, COUNT);
    free(blocks);
    return NULL;
}

CASE(several_threads)
{
    pthread_t threads[4];
    CHECK_OP(pthread_barrier_init(&everyone, NULL, 5), ==, 0);
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(load, (void *)i);
    pthread_barrier_wait(&everyone);
    size_t early = resident();
    pthread_barrier_wait(&everyone);
    pthread_barrier_wait(&everyone);
    check_growth(early);
    pthread_barrier_wait(&everyone);
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
    empty_mailboxes();
}

/* A peak goes back: what a program no longer uses, it does not keep for ever. */
CASE(memory_of_a_peak_serves_again)
{
    enum { COUNT = 100000 };
    static struct block blocks[COUNT];
    size_t early = 0;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < COUNT; i++)
            block_new(&blocks[i], 200, i);
        for (int i = 0; i < COUNT; i++)
            block_free(&blocks[(size_t)i * 7919 % COUNT]);
        if (round == 1)
            early = resident();
    }
    check_growth(early);
}

/* What is idle goes back, also where a part of it is taken and freed all the time. */
CASE(memory_of_a_peak_goes_back_beside_what_comes_and_goes)
{
    enum { COUNT = 12 };
    const size_t size = 6 * MIB;
    char *blocks[COUNT];
    size_t before = resident();
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
    }
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    for (int i = 0; i < 60; i++) {
        char *block = malloc(size);
        CHECK(block != NULL);
        memset(block, 1, size);
        free(block);
        usleep(10000);
    }
    CHECK_OP(resident(), <=, before + 2 * size);
}
