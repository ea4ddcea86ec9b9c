/* Many threads, short threads, and blocks that outlive or change threads. */
#include "threads.h"

#include <malloc.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static void *short_life(void *argument)
{
    struct block blocks[16] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 16, 60, 8 * KIB, &rng);
    blocks_free(blocks, 16);
    return malloc(100); /* freed by whoever joins */
}

CASE(ten_thousand_short_threads_keep_memory_bounded)
{
    size_t after_100 = 0, total = 10000 * scale();
    for (size_t i = 0; i < total; i += 4) {
        pthread_t threads[4];
        for (size_t k = 0; k < 4; k++)
            threads[k] = start(short_life, (void *)(i + k));
        for (size_t k = 0; k < 4; k++)
            free(join(threads[k]));
        if (i == 100)
            after_100 = resident();
    }
    CHECK_OP(resident(), <=, steady_bound(after_100));
}

static pthread_barrier_t everyone;

static void *hold(void *argument)
{
    enum { HELD = 24 };
    struct block blocks[HELD] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;

    for (int i = 0; i < HELD; i++)
        block_new(&blocks[i], random_size(&rng, 4 * KIB), next_random(&rng));
    pthread_barrier_wait(&everyone);
    for (int i = 0; i < HELD; i++)
        block_verify(&blocks[i]);
    post(&rng, KIB);
    pthread_barrier_wait(&everyone);
    blocks_free(blocks, HELD);
    return NULL;
}

CASE(a_thousand_threads_hold_memory_at_once)
{
    enum { COUNT = 1024 };
    static pthread_t threads[COUNT];
    size_t first = 0;
    for (int round = 0; round < 8; round++) {
        CHECK_OP(pthread_barrier_init(&everyone, NULL, COUNT), ==, 0);
        for (size_t i = 0; i < COUNT; i++)
            threads[i] = start(hold, (void *)i);
        for (size_t i = 0; i < COUNT; i++)
            join(threads[i]);
        pthread_barrier_destroy(&everyone);
        empty_mailboxes();
        /* What idles would be given back a while later. */
        malloc_trim(0);
        if (round == 0)
            first = resident();
        CHECK_OP(resident(), <=, steady_bound(first));
    }
}

static void *exchange(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (size_t i = 0; i < 60000 * scale(); i++)
        post(&rng, i % 64 ? KIB : 64 * KIB);
    return NULL;
}

CASE(blocks_are_freed_by_other_threads)
{
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        threads[i] = start(exchange, (void *)i);
    for (size_t i = 0; i < 6; i++)
        join(threads[i]);
    empty_mailboxes();
}

/* One thread only allocates, the other only frees: nothing may pile up. */
#define QUEUE 4096
static void *queue[QUEUE];

static void *produce(void *argument)
{
    uint64_t rng = 3;
    (void)argument;
    for (size_t i = 0; i < 500000 * scale(); i++) {
        void *letter = letter_new(random_size(&rng, KIB), i);
        while (__atomic_load_n(&queue[i % QUEUE], __ATOMIC_ACQUIRE) != NULL)
            sched_yield();
        __atomic_store_n(&queue[i % QUEUE], letter, __ATOMIC_RELEASE);
    }
    return NULL;
}

CASE(a_producer_and_a_consumer_keep_memory_bounded)
{
    pthread_t producer = start(produce, NULL);
    size_t total = 500000 * scale(), early = 0;
    for (size_t i = 0; i < total; i++) {
        void *letter;
        while ((letter = __atomic_load_n(&queue[i % QUEUE], __ATOMIC_ACQUIRE)) == NULL)
            sched_yield();
        __atomic_store_n(&queue[i % QUEUE], NULL, __ATOMIC_RELEASE);
        letter_free(letter);
        if (i == total / 10)
            early = resident();
    }
    join(producer);
    CHECK_OP(resident(), <=, steady_bound(early));
}

static void *leave_blocks(void *argument)
{
    struct block *blocks = argument;
    uint64_t rng = (uintptr_t)argument | 1;
    for (int i = 0; i < 200; i++)
        block_new(&blocks[i], random_size(&rng, i % 50 ? 2 * KIB : 128 * KIB), i);
    return NULL;
}

static void *free_blocks(void *argument)
{
    blocks_free(argument, 200);
    return NULL;
}

CASE(blocks_outlive_their_threads)
{
    static struct block blocks[8][200];
    size_t early = 0;
    for (int round = 0; round < 960; round++) { /* 3 GiB in all */
        for (int i = 0; i < 8; i++)
            join(start(leave_blocks, blocks[i]));
        for (int i = 0; i < 8; i++) {
            if (i % 2)
                blocks_free(blocks[i], 200);
            else
                join(start(free_blocks, blocks[i]));
        }
        if (round == 80)
            early = resident();
    }
    CHECK_OP(resident(), <=, steady_bound(early));
}

/* ---- Signals: the handlers do not allocate, but land anywhere ---- */

static volatile sig_atomic_t signals_seen;
static int signals_stop;

static void on_signal(int number)
{
    int saved = errno;
    (void)number;
    signals_seen = signals_seen + 1;
    sched_yield(); /* lets another thread in where the signal struck */
    errno = saved;
}

static void *under_signals(void *argument)
{
    struct block blocks[256] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    while (!__atomic_load_n(&signals_stop, __ATOMIC_RELAXED)) {
        churn(blocks, 256, 1000, 4 * KIB, &rng);
        post(&rng, KIB);
    }
    blocks_free(blocks, 256);
    return NULL;
}

CASE(signals_strike_anywhere)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 200}, {0, 200}};
    pthread_t threads[4];

    CHECK_OP(sigaction(SIGALRM, &action, NULL), ==, 0);
    CHECK_OP(sigaction(SIGUSR1, &action, NULL), ==, 0);
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(under_signals, (void *)i);
    CHECK_OP(setitimer(ITIMER_REAL, &timer, NULL), ==, 0);
    time_t end = time(NULL) + 1 + (time_t)scale();
    for (size_t i = 0; time(NULL) < end; i++) {
        CHECK_OP(pthread_kill(threads[i % 4], SIGUSR1), ==, 0);
        usleep(50);
    }
    __atomic_store_n(&signals_stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
    memset(&timer, 0, sizeof timer);
    CHECK_OP(setitimer(ITIMER_REAL, &timer, NULL), ==, 0);
    CHECK_OP(signals_seen, >, 500);
    empty_mailboxes();
}
