/* Programs that misuse the heap, each to be ended by the allocator.
 *
 * A case prints the pointer it is about to misuse. Where the check may come
 * late, it goes on and churns the block's size class; a case that survives
 * returns, and the test fails. */
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#pragma GCC diagnostic ignored "-Wuse-after-free"

#include "blocks.h"

#include <malloc.h>

static void about_to_misuse(void *pointer)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%p\n", pointer);
    CHECK(write(1, text, (size_t)length) == length);
}

/* Enough traffic in one size class to overflow every cache, again and again:
 * rounds of 16 MiB, each freed in another order. A cache that holds both
 * copies of a block may keep them for a round; an order that repeats might
 * keep them for ever. */
static void churn_size(size_t size)
{
    static void *blocks[MIB];
    size_t count = MIB; /* a power of two: every odd step meets each block once */
    while (count * size > 16 * MIB)
        count /= 2;
    for (size_t round = 0; round < 16; round++) {
        size_t step = 2 * round * 1000003 + 1;
        for (size_t i = 0; i < count; i++)
            CHECK((blocks[i] = malloc(size)) != NULL);
        for (size_t i = 0; i < count; i++)
            free(blocks[i * step % count]);
    }
}

static void free_twice_and_churn(size_t size)
{
    char *block = malloc(size);
    about_to_misuse(block);
    free(HIDE(block));
    free(HIDE(block));
    churn_size(size);
}

CASE(double_free_of_16) { free_twice_and_churn(16); }
CASE(double_free_of_100) { free_twice_and_churn(100); }
CASE(double_free_of_1024) { free_twice_and_churn(1024); }
CASE(double_free_of_8192) { free_twice_and_churn(8192); }

/* The second free comes when the first has long left the caches. */
static void free_late(int step)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = malloc(64);
    for (int i = 0; i < COUNT; i += step)
        free(HIDE(blocks[i]));
    about_to_misuse(blocks[COUNT / 2]);
    free(HIDE(blocks[COUNT / 2]));
    churn_size(64);
}

/* Among live neighbours, so that the slab is still there to tell. */
CASE(late_double_free) { free_late(2); }

/* With all neighbours freed: the slab may be gone. */
CASE(late_double_free_of_a_retired_slab) { free_late(1); }

/* Two blocks freed in turn: the second free is not of the last one freed. */
CASE(interleaved_double_free)
{
    void *one = malloc(48), *two = malloc(48);
    about_to_misuse(one);
    free(HIDE(one));
    free(HIDE(two));
    free(HIDE(one));
    churn_size(48);
}

static void free_large_twice(size_t size)
{
    void *block = malloc(size);
    about_to_misuse(block);
    free(HIDE(block));
    free(HIDE(block));
}

CASE(double_free_of_100_kib) { free_large_twice(100 * KIB); }
CASE(double_free_of_1_mib) { free_large_twice(MIB); }
CASE(double_free_of_64_mib) { free_large_twice(64 * MIB); }

CASE(free_of_a_stack_address)
{
    char local[64] __attribute__((aligned(64)));
    free(malloc(100));
    about_to_misuse(local);
    free(HIDE((char *)local));
}

static char in_data[64] __attribute__((aligned(64))) = "data";

CASE(free_of_a_static_address)
{
    free(malloc(100));
    about_to_misuse(in_data);
    free(HIDE((char *)in_data));
}

CASE(free_before_any_allocation)
{
    about_to_misuse(in_data);
    free(HIDE((char *)in_data));
}

CASE(free_of_a_wild_address)
{
    char *wild = (char *)0x123456789ab0;
    about_to_misuse(wild);
    free(HIDE(wild));
}

CASE(realloc_of_a_static_address)
{
    about_to_misuse(in_data);
    CHECK(realloc(HIDE((char *)in_data), 200) == NULL);
}

/* Inside a block, and not even aligned. */
CASE(free_of_a_misaligned_address)
{
    char *block = malloc(256);
    about_to_misuse(block + 1);
    free(HIDE(block + 1));
    churn_size(256);
}

/* Inside a small block, aligned as a block would be. */
CASE(free_inside_a_small_block)
{
    char *block = malloc(256);
    about_to_misuse(block + 64);
    free(HIDE(block + 64));
    churn_size(256);
}

CASE(free_inside_a_large_block)
{
    char *block = malloc(4 * MIB);
    about_to_misuse(block + 64 * KIB);
    free(HIDE(block + 64 * KIB));
}
