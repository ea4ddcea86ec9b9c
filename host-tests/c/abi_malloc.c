/* malloc, calloc, realloc, reallocarray, free: POSIX, C23 and glibc. */
#include "blocks.h"

#include <malloc.h>

#define MARK 77 /* an errno no allocator sets */

static size_t impossible[] = {
    (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4095,
    SIZE_MAX - 64 * 1024 * 1024,
};
#define IMPOSSIBLE (sizeof impossible / sizeof *impossible)

CASE(malloc_zero_is_unique_and_freeable)
{
    void *blocks[100];
    for (int i = 0; i < 100; i++) {
        blocks[i] = malloc(0);
        CHECK(blocks[i] != NULL);
        for (int j = 0; j < i; j++)
            CHECK(blocks[i] != blocks[j]);
    }
    for (int i = 0; i < 100; i++)
        free(blocks[i]);
}

CASE(free_null_does_nothing)
{
    errno = MARK;
    free(HIDE((void *)NULL));
    CHECK_OP(errno, ==, MARK);
}

CASE(malloc_of_an_impossible_size_is_enomem)
{
    for (size_t i = 0; i < IMPOSSIBLE; i++) {
        errno = 0;
        CHECK(malloc(HIDE(impossible[i])) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
        errno = 0;
        CHECK(calloc(1, HIDE(impossible[i])) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
    }
}

CASE(malloc_is_aligned_for_its_size)
{
    FOR_SIZES(size, 1, 64 * MIB) {
        void *blocks[4];
        size_t align = size >= alignof(max_align_t) ? alignof(max_align_t) : 8;
        int count = size <= MIB ? 4 : 1;
        for (int i = 0; i < count; i++) {
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL);
            CHECK_OP((uintptr_t)blocks[i] % align, ==, 0);
        }
        for (int i = 0; i < count; i++)
            free(blocks[i]);
    }
}

CASE(usable_size_covers_the_request_and_is_writable)
{
    CHECK_OP(malloc_usable_size(NULL), ==, 0);
    FOR_SIZES(size, 1, 16 * MIB) {
        char *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        CHECK_OP(usable, >=, size);
        memset(HIDE(block), 0xa5, usable);
        free(block);
    }
}

CASE(live_blocks_do_not_overlap)
{
    enum { COUNT = 20000 };
    static struct block blocks[COUNT];
    uint64_t rng = 1;

    for (size_t i = 0; i < COUNT; i++) {
        size_t size = random_size(&rng, i % 100 ? 4 * KIB : 256 * KIB);
        blocks[i].data = malloc(size);
        CHECK(blocks[i].data != NULL);
        blocks[i].size = malloc_usable_size(blocks[i].data);
        fill(HIDE(blocks[i].data), 0, blocks[i].size, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        verify(blocks[i].data, blocks[i].size, i);
        free(blocks[i].data);
    }
}

CASE(success_keeps_errno)
{
    FOR_SIZES(size, 1, 64 * MIB) {
        errno = MARK;
        void *block = malloc(size);
        CHECK_OP(errno, ==, MARK);
        block = realloc(block, size + 100);
        CHECK_OP(errno, ==, MARK);
        free(block);
        CHECK_OP(errno, ==, MARK);
        block = calloc(1, size);
        CHECK_OP(errno, ==, MARK);
        free(block);
        CHECK_OP(errno, ==, MARK);
    }
}

CASE(calloc_is_zero_after_dirty_frees)
{
    enum { COUNT = 64 };
    void *blocks[COUNT];
    FOR_SIZES(size, 1, 64 * MIB) {
        int count = size <= 4 * KIB ? COUNT : size <= MIB ? 4 : 1;
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < count; i++) {
                blocks[i] = malloc(size);
                CHECK(blocks[i] != NULL);
                memset(blocks[i], 0xff, size);
            }
            for (int i = 0; i < count; i++)
                free(blocks[i]);
            for (int i = 0; i < count; i++) {
                blocks[i] = i % 2 ? calloc(1, size) : calloc(size, 1);
                CHECK(blocks[i] != NULL);
                verify_zero(blocks[i], size);
                memset(blocks[i], 0xff, size);
            }
            for (int i = 0; i < count; i++)
                free(blocks[i]);
            if (size > MIB)
                break;
        }
    }
}

CASE(calloc_multiplies)
{
    char *block = calloc(1000, 24);
    CHECK_OP(malloc_usable_size(block), >=, 24000);
    verify_zero(block, 24000);
    free(block);
    void *none = calloc(0, 8), *nothing = calloc(8, 0);
    CHECK(none != NULL && nothing != NULL && none != nothing);
    free(none);
    free(nothing);
}

CASE(calloc_overflow_is_enomem)
{
    static size_t pairs[][2] = {
        {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {2, SIZE_MAX / 2 + 1},
        {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX / 16 + 2, 16}, {PTRDIFF_MAX, 3},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        errno = 0;
        CHECK(calloc(HIDE(pairs[i][0]), HIDE(pairs[i][1])) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
    }
}

CASE(realloc_of_null_is_malloc)
{
    void *block = realloc(NULL, 100);
    CHECK_OP(malloc_usable_size(block), >=, 100);
    free(block);
    block = realloc(NULL, 0);
    CHECK(block != NULL);
    free(block);
}

CASE(realloc_to_zero_frees)
{
    size_t before = resident();
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 2 ? 100 : 200 * KIB;
        void *block = malloc(size);
        CHECK(block != NULL);
        memset(block, 1, size);
        CHECK(realloc(block, HIDE((size_t)0)) == NULL);
    }
    /* A leak would be 200 MiB. */
    CHECK_OP(resident(), <, before + 32 * MIB);
}

CASE(a_failed_realloc_leaves_the_block)
{
    FOR_SIZES(size, 1, 4 * MIB) {
        char *block = malloc(size);
        fill(block, 0, size, size);
        for (size_t i = 0; i < IMPOSSIBLE; i++) {
            errno = 0;
            CHECK(realloc(HIDE(block), HIDE(impossible[i])) == NULL);
            CHECK_OP(errno, ==, ENOMEM);
            errno = 0;
            CHECK(reallocarray(HIDE(block), HIDE(SIZE_MAX / 4 + i), 8) == NULL);
            CHECK_OP(errno, ==, ENOMEM);
        }
        verify(HIDE(block), size, size);
        free(HIDE(block));
    }
}

static void *resized(void *block, size_t *size, size_t to, uint64_t seed)
{
    void *moved = realloc(block, to);
    CHECK(moved != NULL);
    CHECK_OP(malloc_usable_size(moved), >=, to);
    if (to >= alignof(max_align_t))
        CHECK_OP((uintptr_t)moved % alignof(max_align_t), ==, 0);
    verify(moved, *size < to ? *size : to, seed);
    if (to > *size)
        fill(moved, *size, to, seed);
    *size = to;
    return moved;
}

CASE(realloc_keeps_the_content_up_and_down)
{
    size_t size = 0, ladder[256], count = 0;
    void *block = malloc(0);

    FOR_SIZES(step, 1, 64 * MIB)
        ladder[count++] = step;
    CHECK_OP(count, <, 256);
    for (size_t i = 0; i < count; i++)
        block = resized(block, &size, ladder[i], 1);
    for (size_t i = count; i-- > 0;)
        block = resized(block, &size, ladder[i], 1);
    /* And in leaps: each size straight to a distant one and back. */
    for (size_t i = 0; i + 40 < count && ladder[i + 40] <= 16 * MIB; i++) {
        block = resized(block, &size, ladder[i + 40], 1);
        block = resized(block, &size, ladder[i], 1);
    }
    free(block);
}

CASE(realloc_among_neighbours_keeps_the_content)
{
    enum { COUNT = 64 };
    struct block blocks[COUNT] = {{NULL, 0, 0}};
    uint64_t rng = 7;

    for (int step = 0; step < 20000; step++) {
        int i = (int)(next_random(&rng) % COUNT);
        size_t to = 1 + random_size(&rng, step % 64 ? 16 * KIB : MIB);
        blocks[i].data = resized(blocks[i].data, &blocks[i].size, to, (uint64_t)i);
    }
    for (int i = 0; i < COUNT; i++) {
        verify(blocks[i].data, blocks[i].size, (uint64_t)i);
        free(blocks[i].data);
    }
}

CASE(reallocarray_multiplies_and_checks)
{
    char *block = reallocarray(NULL, 100, 24);
    CHECK_OP(malloc_usable_size(block), >=, 2400);
    fill(block, 0, 2400, 3);
    block = reallocarray(block, 100000, 24);
    CHECK_OP(malloc_usable_size(block), >=, 2400000);
    verify(block, 2400, 3);
    block = reallocarray(block, 10, 24);
    verify(block, 240, 3);
    errno = 0;
    CHECK(reallocarray(HIDE(block), HIDE((size_t)1 << 32), (size_t)1 << 32) == NULL);
    CHECK_OP(errno, ==, ENOMEM);
    verify(block, 240, 3);
    free(block);
}
