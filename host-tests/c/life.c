/* Allocation before main, after it, and while threads end. */
#include "threads.h"

/* ---- Before main, and after it ---- */

static struct block early[100];

__attribute__((constructor(101))) static void before_main(void)
{
    uint64_t rng = 17;
    churn(early, 100, 3000, 64 * KIB, &rng);
}

CASE(blocks_from_before_main_are_whole)
{
    blocks_free(early, 100);
    CHECK(early[0].data == NULL);
}

static struct block late[100];
static int handlers_run;

static void at_exit(void)
{
    uint64_t rng = 19;
    churn(late, 100, 3000, 64 * KIB, &rng);
    blocks_free(late, 100);
    blocks_free(early, 100);
    handlers_run++;
}

/* Destructors run after the handlers: this one has the last word. */
__attribute__((destructor(101))) static void after_main(void)
{
    uint64_t rng = 23;
    churn(late, 100, 3000, 64 * KIB, &rng);
    blocks_free(late, 100);
    if (handlers_run != 0 && handlers_run != 40)
        _exit(3);
}

CASE(exit_handlers_allocate)
{
    uint64_t rng = 29;
    churn(late, 100, 1000, 64 * KIB, &rng);
    for (int i = 0; i < 40; i++) /* more than the C library keeps statically */
        CHECK_OP(atexit(at_exit), ==, 0);
    exit(0);
}

/* ---- Thread-specific data: destructors that allocate, round after round ---- */

static pthread_key_t key, other_key;
static int rounds_run;

struct holder {
    int round;
    struct block blocks[20];
};

static void destroy(void *data)
{
    struct holder *holder = data;
    uint64_t rng = (uintptr_t)data | 1;

    churn(holder->blocks, 20, 200, 16 * KIB, &rng);
    __atomic_add_fetch(&rounds_run, 1, __ATOMIC_RELAXED);
    if (holder->round < PTHREAD_DESTRUCTOR_ITERATIONS - 1) {
        struct holder *next = calloc(1, sizeof *next);
        CHECK(next != NULL);
        next->round = holder->round + 1;
        CHECK_OP(pthread_setspecific(holder->round % 2 ? key : other_key, next), ==, 0);
    }
    blocks_free(holder->blocks, 20);
    free(holder);
}

static void *with_specific(void *argument)
{
    struct holder *holder = calloc(1, sizeof *holder);
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    CHECK_OP(pthread_setspecific(key, holder), ==, 0);
    churn(holder->blocks, 20, 200, 16 * KIB, &rng);
    return NULL;
}

CASE(key_destructors_allocate_in_every_round)
{
    size_t early_size = 0;
    CHECK_OP(pthread_key_create(&key, destroy), ==, 0);
    CHECK_OP(pthread_key_create(&other_key, destroy), ==, 0);
    for (size_t i = 0; i < 500; i++) {
        pthread_t one = start(with_specific, (void *)i), two = start(with_specific, (void *)i);
        join(one);
        join(two);
        if (i == 50)
            early_size = resident();
    }
    CHECK_OP(rounds_run, ==, 1000 * PTHREAD_DESTRUCTOR_ITERATIONS);
    CHECK_OP(resident(), <=, steady_bound(early_size));
}

/* A thread whose first use of the allocator is in a destructor. */
static void first_use(void *data)
{
    struct block blocks[20] = {{NULL, 0, 0}};
    uint64_t rng = 31;
    (void)data;
    churn(blocks, 20, 200, 16 * KIB, &rng);
    blocks_free(blocks, 20);
    __atomic_add_fetch(&rounds_run, 1, __ATOMIC_RELAXED);
}

static void *without_allocation(void *argument)
{
    CHECK_OP(pthread_setspecific(key, argument), ==, 0);
    return NULL;
}

CASE(the_first_allocation_of_a_thread_is_in_a_destructor)
{
    size_t early_size = 0;
    CHECK_OP(pthread_key_create(&key, first_use), ==, 0);
    for (int i = 0; i < 1000; i++) {
        join(start(without_allocation, &key));
        if (i == 100)
            early_size = resident();
    }
    CHECK_OP(rounds_run, ==, 1000);
    CHECK_OP(resident(), <=, steady_bound(early_size));
}

/* ---- Cancellation: cleanup handlers free ---- */

static void clean_up(void *data) { blocks_free(data, 50); }

static void *cancelled(void *argument)
{
    struct block blocks[50] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    pthread_cleanup_push(clean_up, blocks);
    for (;;) {
        churn(blocks, 50, 100, 8 * KIB, &rng);
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

CASE(cancelled_threads_clean_up)
{
    for (size_t i = 0; i < 200; i++) {
        pthread_t thread = start(cancelled, (void *)i);
        CHECK_OP(pthread_cancel(thread), ==, 0);
        CHECK(join(thread) == PTHREAD_CANCELED);
    }
}

/* ---- main ends, threads go on ---- */

static void *outlive_main(void *argument)
{
    struct block blocks[50] = {{NULL, 0, 0}};
    uint64_t rng = 37;
    (void)argument;
    for (int i = 0; i < 50; i++) {
        churn(blocks, 50, 500, 8 * KIB, &rng);
        usleep(500);
    }
    blocks_free(blocks, 50);
    exit(0);
}

CASE(threads_outlive_main)
{
    start(outlive_main, NULL);
    pthread_exit(NULL);
}

static void *never_ends(void *argument)
{
    struct block blocks[50] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (;;)
        churn(blocks, 50, 500, 64 * KIB, &rng);
    return NULL;
}

CASE(exit_while_threads_allocate)
{
    for (size_t i = 0; i < 4; i++)
        start(never_ends, (void *)i);
    usleep(20000);
    for (int i = 0; i < 40; i++)
        CHECK_OP(atexit(at_exit), ==, 0);
    exit(0);
}
