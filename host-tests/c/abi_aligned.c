/* aligned_alloc, posix_memalign, memalign, valloc, pvalloc. */
#include "blocks.h"

#include <malloc.h>

#define MARK 77 /* an errno no allocator sets */

static void check_block(void *block, size_t align, size_t size)
{
    CHECK(block != NULL);
    CHECK_OP((uintptr_t)block % align, ==, 0);
    CHECK_OP(malloc_usable_size(block), >=, size);
    fill(HIDE(block), 0, size, align);
    verify(block, size, align);
}

CASE(every_alignment_holds)
{
    static size_t sizes[] = {1, 8, 24, 100, 4096, 5000, 70000};
    for (size_t align = 8; align <= 64 * MIB; align *= 2) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *blocks[3], *out = NULL;
            blocks[0] = aligned_alloc(align, sizes[i]);
            blocks[1] = memalign(align, sizes[i]);
            errno = MARK;
            CHECK_OP(posix_memalign(&out, align, sizes[i]), ==, 0);
            CHECK_OP(errno, ==, MARK);
            blocks[2] = out;
            for (int k = 0; k < 3; k++)
                check_block(blocks[k], align, sizes[i]);
            for (int k = 0; k < 3; k++)
                free(blocks[k]);
            CHECK_OP(errno, ==, MARK);
        }
    }
}

CASE(many_aligned_blocks_do_not_overlap)
{
    enum { COUNT = 4000 };
    static struct block blocks[COUNT];
    uint64_t rng = 5;
    for (size_t i = 0; i < COUNT; i++) {
        size_t align = (size_t)8 << (next_random(&rng) % 10);
        blocks[i].size = random_size(&rng, 8 * KIB);
        blocks[i].data = memalign(align, blocks[i].size);
        CHECK_OP((uintptr_t)blocks[i].data % align, ==, 0);
        blocks[i].size = malloc_usable_size(blocks[i].data);
        fill(HIDE(blocks[i].data), 0, blocks[i].size, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        verify(blocks[i].data, blocks[i].size, i);
        if (i % 2)
            free(blocks[i].data);
    }
    for (size_t i = 0; i < COUNT; i += 2)
        free(blocks[i].data);
}

CASE(small_alignments_of_memalign_are_served)
{
    for (size_t align = 1; align <= 4; align *= 2) {
        void *block = memalign(align, 40);
        check_block(block, align, 40);
        free(block);
        block = aligned_alloc(align, 40);
        check_block(block, align, 40);
        free(block);
    }
}

CASE(posix_memalign_refuses_bad_alignments)
{
    static size_t bad[] = {0, 1, 2, 3, 4, 7, 12, 24, 100, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *out = HIDE((void *)&bad);
        errno = MARK;
        CHECK_OP(posix_memalign(&out, HIDE(bad[i]), 64), ==, EINVAL);
        CHECK(out == (void *)&bad);
        CHECK_OP(errno, ==, MARK);
    }
}

CASE(posix_memalign_of_an_impossible_size_is_enomem)
{
    static size_t sizes[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 63};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t align = 8; align <= MIB; align *= 2) {
            void *out = HIDE((void *)&sizes);
            CHECK_OP(posix_memalign(&out, align, HIDE(sizes[i])), ==, ENOMEM);
            CHECK(out == (void *)&sizes);
        }
    }
    void *out = HIDE((void *)&sizes);
    CHECK_OP(posix_memalign(&out, (size_t)1 << 62, 64), ==, ENOMEM);
    CHECK(out == (void *)&sizes);
}

CASE(posix_memalign_of_zero_bytes_is_freeable)
{
    for (size_t align = 8; align <= 64 * KIB; align *= 2) {
        void *out = &out;
        CHECK_OP(posix_memalign(&out, align, 0), ==, 0);
        CHECK_OP((uintptr_t)out % align, ==, 0);
        free(out);
    }
}

CASE(aligned_alloc_refuses_bad_alignments)
{
    static size_t bad[] = {0, 3, 5, 12, 24, 100, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        CHECK(aligned_alloc(HIDE(bad[i]), 240) == NULL);
        CHECK_OP(errno, ==, EINVAL);
    }
}

CASE(memalign_refuses_bad_alignments)
{
    static size_t bad[] = {3, 5, 12, 24, 100, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        CHECK(memalign(HIDE(bad[i]), 240) == NULL);
        CHECK_OP(errno, ==, EINVAL);
    }
}

CASE(an_impossible_size_is_enomem)
{
    static size_t sizes[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4095};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = HIDE(sizes[i]);
        errno = 0;
        CHECK(aligned_alloc(64, size) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
        errno = 0;
        CHECK(memalign(64 * KIB, size) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
        errno = 0;
        CHECK(valloc(size) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
        errno = 0;
        CHECK(pvalloc(size) == NULL);
        CHECK_OP(errno, ==, ENOMEM);
    }
}

CASE(valloc_and_pvalloc_give_whole_pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    static size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *block = valloc(sizes[i]);
        check_block(block, page, sizes[i]);
        free(block);
        block = pvalloc(sizes[i]);
        check_block(block, page, (sizes[i] + page - 1) / page * page);
        free(block);
    }
}

CASE(realloc_of_an_aligned_block_keeps_the_content)
{
    for (size_t align = 8; align <= 4 * MIB; align *= 2) {
        char *block = memalign(align, 100);
        fill(block, 0, 100, align);
        block = realloc(block, 3 * align + 1000);
        CHECK(block != NULL);
        verify(block, 100, align);
        fill(block, 0, 3 * align + 1000, align);
        block = realloc(block, 50);
        CHECK(block != NULL);
        verify(block, 50, align);
        free(block);
    }
}

CASE(aligned_blocks_do_not_leak)
{
    size_t before = 0;
    for (int i = 0; i < 3000; i++) {
        free(memset(aligned_alloc((size_t)8 << (i % 20), 100), 1, 100));
        free(memset(memalign(MIB, 100 * KIB), 1, 100 * KIB));
        if (i == 300)
            before = resident();
    }
    CHECK_OP(resident(), <, before + 32 * MIB);
}
