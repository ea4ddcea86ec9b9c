/* threads.h: the few thread helpers the programs share. */
#ifndef THREADS_H
#define THREADS_H

#include "blocks.h"

#include <limits.h>
#include <pthread.h>

/* Starts a thread with a small stack, so that thousands fit. */
static inline pthread_t start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;

    CHECK_OP(pthread_attr_init(&attributes), ==, 0);
    CHECK_OP(pthread_attr_setstacksize(&attributes, 128 * KIB), ==, 0);
    CHECK_OP(pthread_create(&thread, &attributes, body, argument), ==, 0);
    pthread_attr_destroy(&attributes);
    return thread;
}

static inline void *join(pthread_t thread)
{
    void *result;
    CHECK_OP(pthread_join(thread, &result), ==, 0);
    return result;
}

/* Mailboxes: any thread puts a block in, any other takes and frees it. */
#define MAILBOXES 1024
static void *mailboxes[MAILBOXES];

/* A block that states its own size and seed, for whoever frees it. */
struct letter {
    size_t size;
    uint64_t seed;
};

static inline void *letter_new(size_t size, uint64_t seed)
{
    struct letter *letter = (struct letter *)malloc(sizeof *letter + size);
    CHECK(letter != NULL);
    letter->size = size;
    letter->seed = seed;
    fill(letter + 1, 0, size < BLOCK_FILLED ? size : BLOCK_FILLED, seed);
    return letter;
}

static inline void letter_free(void *data)
{
    struct letter *letter = (struct letter *)data;
    if (letter == NULL)
        return;
    verify(letter + 1, letter->size < BLOCK_FILLED ? letter->size : BLOCK_FILLED, letter->seed);
    free(letter);
}

/* Swaps a fresh block into a random mailbox and frees what was there. */
static inline void post(uint64_t *rng, size_t max)
{
    void *letter = letter_new(random_size(rng, max), next_random(rng));
    void **box = &mailboxes[next_random(rng) % MAILBOXES];
    letter_free(__atomic_exchange_n(box, letter, __ATOMIC_ACQ_REL));
}

static inline void empty_mailboxes(void)
{
    for (int i = 0; i < MAILBOXES; i++)
        letter_free(__atomic_exchange_n(&mailboxes[i], NULL, __ATOMIC_ACQ_REL));
}

#endif
