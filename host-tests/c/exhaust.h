/* exhaust.h: take all memory there is, give it back, and do it again. */
#ifndef EXHAUST_H
#define EXHAUST_H

#include "threads.h"

#include <sys/resource.h>

/* More than any limit here allows: a library that ignores the limit fails
 * before it takes the machine's memory. */
#define TAKEN_AT_MOST (1024 * MIB)

/* Blocks form a list through their first words: nothing else is needed. */
static inline size_t take_all(void **list, size_t size)
{
    size_t taken = 0;
    void *block;
    errno = 0;
    while ((block = malloc(size)) != NULL) {
        fill(block, 8, size < 64 ? size : 64, size);
        *(void **)block = *list;
        *list = block;
        taken += size;
        CHECK_OP(taken, <=, TAKEN_AT_MOST);
    }
    CHECK_OP(errno, ==, ENOMEM);
    return taken;
}

static inline void give_all(void **list, size_t size)
{
    while (*list) {
        unsigned char *block = *list;
        uint64_t word = word_at(1, size);
        CHECK(size < 16 || memcmp(block + 8, &word, 8) == 0);
        *list = *(void **)block;
        free(block);
    }
}

/* Fills memory with each size in turn, several times over. */
static inline void exhaust(size_t budget)
{
    static size_t sizes[] = {64, 100 * KIB, 1000, 3 * MIB, 16 * KIB, 32, 300 * KIB};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    size_t first[SIZES] = {0};
    void *list = NULL;

    for (int cycle = 0; cycle < 4; cycle++) {
        for (int i = 0; i < SIZES; i++) {
            size_t taken = take_all(&list, sizes[i]);
            if (cycle == 0)
                first[i] = taken;
            /* Half the budget at least, whatever filled it before. */
            CHECK_OP(taken, >=, budget / 2);
            CHECK_OP(taken, >=, first[i] - first[i] / 10);
            /* Other requests fail as well, and harm nothing. */
            errno = 0;
            CHECK(calloc(1, 8 * MIB) == NULL);
            CHECK_OP(errno, ==, ENOMEM);
            CHECK(aligned_alloc(MIB, 8 * MIB) == NULL);
            CHECK(realloc(list, 8 * MIB) == NULL);
            give_all(&list, sizes[i]);
            void *block = malloc(budget / 4);
            CHECK(block != NULL);
            free(block);
        }
    }
}

#endif
