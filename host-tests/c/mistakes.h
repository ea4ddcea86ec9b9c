/* mistakes.h: what a case tells of a mistake, and what a program does after one. */
#ifndef MISTAKES_H
#define MISTAKES_H

#include "blocks.h"

#include <pthread.h>

static void say(const char *text, size_t length)
{
    CHECK(write(1, text, length) == (ssize_t)length);
}

static void about_to_misuse(void *pointer)
{
    char text[32];
    say(text, (size_t)snprintf(text, sizeof text, "%p\n", pointer));
}

static void survived(void)
{
    say("survived\n", 9);
}

/* The access that is the mistake has not stopped the program. */
static void accessed(void)
{
    say("accessed\n", 9);
}

/* What the program does next: enough to empty every cache and quarantine. */
static void go_on(size_t size)
{
    enum { COUNT = 65536 };
    static void *blocks[COUNT];
    size_t count = COUNT; /* a power of two: every odd step meets each block once */
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

static void *free_it(void *block)
{
    free(HIDE(block));
    return NULL;
}

static void in_another_thread(void *block)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_it, block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void free_as_mistake(void *block, size_t size)
{
    about_to_misuse(block);
    accessed();
    free(HIDE(block));
    survived();
    go_on(size);
}

/* Live blocks around the one in question, so that its slab stays. */
static char *among_others(size_t size)
{
    enum { AROUND = 64 };
    char *block = NULL;
    for (int i = 0; i < AROUND; i++) {
        char *other = malloc(size);
        CHECK(other != NULL);
        memset(other, 1, size);
        if (i == AROUND / 2)
            block = other;
    }
    return block;
}

#endif
