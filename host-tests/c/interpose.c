/* A program that brings a malloc of its own: it is the program's, and nobody
 * else's, that everybody uses; granule's own functions work beside it. */
#include "blocks.h"

#include <granule.h>

#ifndef LINKED
#pragma weak granule_heap_new
#pragma weak granule_heap_malloc
#pragma weak granule_heap_free
#pragma weak granule_heap_delete
#pragma weak granule_check
#endif

static _Alignas(16) unsigned char arena[4 * MIB];
static size_t used;
static unsigned long allocated, freed;

static int is_mine(const void *block)
{
    return (uintptr_t)block - (uintptr_t)arena < sizeof arena;
}

void *malloc(size_t size)
{
    size_t *head = (size_t *)(void *)(arena + used);
    size_t all = (size + 31) & ~(size_t)15;
    if (size > sizeof arena || sizeof arena - used < all) {
        errno = ENOMEM;
        return NULL;
    }
    used += all;
    allocated++;
    *head = size;
    return (unsigned char *)head + 16;
}

void free(void *block)
{
    if (block == NULL)
        return;
    CHECK(is_mine(block));
    freed++;
}

void *calloc(size_t count, size_t size)
{
    CHECK(size == 0 || count <= sizeof arena / size);
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    if (moved != NULL && block != NULL) {
        size_t before = *(size_t *)(void *)((unsigned char *)block - 16);
        memcpy(moved, block, before < size ? before : size);
        free(block);
    }
    return moved;
}

CASE(the_program_s_malloc_serves_the_c_library)
{
    unsigned long before = allocated;
    char *copy = strdup("whose?"), *text;
    size_t length;
    CHECK(is_mine(copy) && strcmp(copy, "whose?") == 0);
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL && fprintf(stream, "%0100d", 7) == 100 && fclose(stream) == 0);
    CHECK(is_mine(text) && length == 100);
    CHECK_OP(allocated, >=, before + 2);
    free(text);
    free(copy);
    CHECK_OP(freed, >=, 2);
}

CASE(granule_s_own_functions_work_beside_it)
{
    unsigned long before = allocated;
    granule_heap_t *heap = granule_heap_new();
    void *blocks[500];
    for (size_t i = 0; i < 500; i++) {
        blocks[i] = granule_heap_malloc(heap, i * 40 + 1);
        CHECK(blocks[i] != NULL && !is_mine(blocks[i]));
        memset(blocks[i], 7, i * 40 + 1);
    }
    for (size_t i = 0; i < 500; i++)
        granule_heap_free(heap, blocks[i]);
    granule_heap_delete(heap);
    CHECK_OP(allocated, ==, before);
    CHECK_OP(granule_check(NULL, 0), ==, 0);
}
