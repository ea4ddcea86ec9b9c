/* blocks.h: blocks that know what they hold, and a churn of them. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "check.h"

#include <stdalign.h>
#include <stddef.h>

/* xorshift64*: small, fast, the same everywhere. The state is never zero. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline uint64_t word_at(size_t index, uint64_t seed)
{
    return (index + seed) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Fills bytes [from, to) with a pattern of their position. */
static inline void fill(void *block, size_t from, size_t to, uint64_t seed)
{
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = from; i < to;) {
        uint64_t word = word_at(i / 8, seed);
        size_t in = i % 8, n = to - i < 8 - in ? to - i : 8 - in;
        memcpy(bytes + i, (unsigned char *)&word + in, n);
        i += n;
    }
}

/* Checks that bytes [0, to) still hold the pattern. */
static inline void verify(const void *block, size_t to, uint64_t seed)
{
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < to; i += 8) {
        uint64_t word = word_at(i / 8, seed);
        if (memcmp(bytes + i, &word, to - i < 8 ? to - i : 8) != 0) {
            dprintf(2, "content of %p changed at byte %zu of %zu\n", block, i, to);
            _exit(1);
        }
    }
}

/* Checks that a block is zero all over. */
static inline void verify_zero(const void *block, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)block;
    if (size == 0)
        return;
    if (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0)
        return;
    dprintf(2, "%p (%zu bytes) is not zero\n", block, size);
    _exit(1);
}

/* A ladder of sizes: every one up to 64, then both sides of each step. */
static inline size_t next_size(size_t size)
{
    if (size < 64)
        return size + 1;
    /* ..., 2^k - 1, 2^k, 2^k + 1, 1.5 * 2^k, ... */
    size_t top = (size_t)1 << (63 - __builtin_clzll(size));
    if (size == top)
        return top + 1;
    if (size < top + top / 2)
        return top + top / 2;
    return size == 2 * top - 1 ? 2 * top : 2 * top - 1;
}

#define FOR_SIZES(size, from, to) \
    for (size_t size = (from); size <= (to); size = next_size(size))

/* A random size: the logarithm is uniform, so small ones are frequent. */
static inline size_t random_size(uint64_t *rng, size_t max)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(max);
    uint64_t r = next_random(rng);
    size_t size = (size_t)(r >> 8) & (((size_t)2 << (r % bits)) - 1);
    return size < max ? size : max;
}

struct block {
    void *data;
    size_t size;
    uint64_t seed;
};

/* Only the ends of a large block are filled: churn is about the allocator. */
#define BLOCK_FILLED 256

static inline void block_new(struct block *block, size_t size, uint64_t seed)
{
    block->data = malloc(size);
    CHECK(block->data != NULL);
    block->size = size;
    block->seed = seed;
    fill(block->data, 0, size < BLOCK_FILLED ? size : BLOCK_FILLED, seed);
    if (size >= 2 * BLOCK_FILLED)
        fill((char *)block->data + size - BLOCK_FILLED, 0, BLOCK_FILLED, seed);
}

static inline void block_verify(const struct block *block)
{
    size_t size = block->size;
    verify(block->data, size < BLOCK_FILLED ? size : BLOCK_FILLED, block->seed);
    if (size >= 2 * BLOCK_FILLED)
        verify((char *)block->data + size - BLOCK_FILLED, BLOCK_FILLED, block->seed);
}

static inline void block_free(struct block *block)
{
    if (block->data == NULL)
        return;
    block_verify(block);
    free(block->data);
    block->data = NULL;
}

/* Random allocations and frees over an array of blocks, all verified. */
static inline void churn(struct block *blocks, size_t count, size_t steps, size_t max,
                         uint64_t *rng)
{
    for (size_t step = 0; step < steps; step++) {
        struct block *block = &blocks[next_random(rng) % count];
        if (block->data == NULL)
            block_new(block, random_size(rng, max), next_random(rng));
        else
            block_free(block);
    }
}

static inline void blocks_free(struct block *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        block_free(&blocks[i]);
}

#endif
