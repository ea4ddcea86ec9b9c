/* Mixed load for GRANULE_SOAK_SECONDS: threads that start, end, hop between
 * CPUs and hand blocks on; forks; signals; drains and purges; memory that is
 * short now and then. Every block states its size and seed and is verified when
 * it is freed. At the end of each round all threads rest, the heap is walked,
 * and what it counts as live is what the program holds. */
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#pragma weak granule_check
#pragma weak granule_get_stats

static unsigned long operations, refusals, forks, signals, threads, drains, walks, rounds;

#define COUNT(what, by) __atomic_add_fetch(&what, by, __ATOMIC_RELAXED)

static void hop(uint64_t *rng)
{
    cpu_set_t set;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&set);
    CPU_SET(next_random(rng) % cpus, &set);
    if (next_random(rng) % 2)
        CPU_SET(next_random(rng) % cpus, &set);
    sched_setaffinity(0, sizeof set, &set); /* refused where CPUs are not ours */
}

/* A block, or null where memory is short: which is counted, and no loss. */
static void *letter_or_null(size_t size, uint64_t seed)
{
    struct letter *letter = malloc(sizeof *letter + size);
    if (letter == NULL) {
        CHECK_OP(errno, ==, ENOMEM);
        COUNT(refusals, 1);
        return NULL;
    }
    letter->size = size;
    letter->seed = seed;
    fill(letter + 1, 0, size < BLOCK_FILLED ? size : BLOCK_FILLED, seed);
    return letter;
}

static void *resized(struct letter *letter, size_t size, uint64_t seed)
{
    size_t least = letter->size < size ? letter->size : size;
    struct letter *moved = realloc(letter, sizeof *letter + size);
    if (moved == NULL) {
        COUNT(refusals, 1);
        letter_free(letter);
        return NULL;
    }
    verify(moved + 1, least < BLOCK_FILLED ? least : BLOCK_FILLED, moved->seed);
    moved->size = size;
    moved->seed = seed;
    fill(moved + 1, 0, size < BLOCK_FILLED ? size : BLOCK_FILLED, seed);
    return moved;
}

/* One step on the mailboxes that all threads share. */
static void step(uint64_t *rng)
{
    void **box = &mailboxes[next_random(rng) % MAILBOXES];
    uint64_t seed = next_random(rng);
    size_t size = random_size(rng, seed % 128 ? 4 * KIB : seed % 1024 ? 300 * KIB : 6 * MIB);
    void *letter = NULL;
    errno = 0;
    switch (seed >> 32 & 7) {
    case 0: /* out, and gone */
        break;
    case 1:
        letter = __atomic_exchange_n(box, NULL, __ATOMIC_ACQ_REL);
        if (letter != NULL)
            letter = resized(letter, size, seed);
        break;
    default:
        letter = letter_or_null(size, seed);
    }
    letter_free(__atomic_exchange_n(box, letter, __ATOMIC_ACQ_REL));
    COUNT(operations, 1);
}

static int resting;

static void *work(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    unsigned long steps = next_random(&rng) % 20000;
    COUNT(threads, 1);
    while (steps-- && !__atomic_load_n(&resting, __ATOMIC_RELAXED)) {
        if (steps % 1000 == 0)
            hop(&rng);
        step(&rng);
    }
    return NULL;
}

static void *keep_threads(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    pthread_attr_t small;
    CHECK_OP(pthread_attr_init(&small), ==, 0);
    CHECK_OP(pthread_attr_setstacksize(&small, 128 * KIB), ==, 0);
    while (!__atomic_load_n(&resting, __ATOMIC_RELAXED)) {
        pthread_t two[2];
        int started = 0;
        /* Where memory is short there is none for a stack. */
        while (started < 2 && pthread_create(&two[started], &small, work,
                                             (void *)(uintptr_t)next_random(&rng)) == 0)
            started++;
        if (started < 2)
            COUNT(refusals, 1);
        while (started > 0)
            join(two[--started]);
    }
    pthread_attr_destroy(&small);
    return NULL;
}

static void on_alarm(int number)
{
    (void)number;
    COUNT(signals, 1);
}

static void alarms(long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    CHECK_OP(sigaction(SIGALRM, &action, NULL), ==, 0);
    CHECK_OP(setitimer(ITIMER_REAL, &timer, NULL), ==, 0);
}

static void whole(void)
{
    char text[128];
    COUNT(walks, 1);
    if (granule_check(text, sizeof text) == 0)
        return;
    dprintf(2, "%s\n", text);
    _exit(1);
}

/* A child finds a whole heap, and uses all it has inherited. */
static void fork_once(uint64_t *rng)
{
    int status;
    pid_t child = fork();
    CHECK_OP(child, >=, 0);
    if (child == 0) {
        alarms(0);
        whole();
        pthread_t more = start(work, (void *)(uintptr_t)next_random(rng));
        for (int i = 0; i < 2000; i++)
            step(rng);
        join(more);
        malloc_trim(0);
        whole();
        empty_mailboxes();
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0)
        CHECK_OP(errno, ==, EINTR);
    CHECK_OP(status, ==, 0);
    COUNT(forks, 1);
}

static void limit(rlim_t bytes)
{
    struct rlimit limits = {bytes, RLIM_INFINITY};
    CHECK_OP(setrlimit(RLIMIT_AS, &limits), ==, 0);
}

static size_t live_now(void)
{
    struct granule_stats stats;
    malloc_trim(0);
    CHECK_OP(granule_get_stats(&stats), ==, 0);
    return stats.live_bytes;
}

static size_t committed_now(void)
{
    struct granule_stats stats;
    CHECK_OP(granule_get_stats(&stats), ==, 0);
    return stats.committed;
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

CASE(soak)
{
    const char *text = getenv("GRANULE_SOAK_SECONDS");
    uint64_t begun = milliseconds(), rng = 77, seconds = text ? strtoull(text, NULL, 10) : 3;
    size_t empty = 0, losses = 0;
    for (; milliseconds() - begun < seconds * 1000; rounds++) {
        pthread_t keepers[4];
        __atomic_store_n(&resting, 0, __ATOMIC_RELAXED);
        alarms(700);
        for (size_t i = 0; i < 4; i++)
            keepers[i] = start(keep_threads, (void *)(uintptr_t)next_random(&rng));
        uint64_t start_of_round = milliseconds(), now;
        int is_short = 0;
        while ((now = milliseconds() - start_of_round) < 900) {
            usleep(5000);
            malloc_trim(0);
            COUNT(drains, 1);
            /* Nothing more to be had for a while, not even a stack. */
            int be_short = rounds % 2 == 1 && now >= 300 && now < 500;
            if (be_short != is_short)
                limit(be_short ? committed_now() : RLIM_INFINITY);
            is_short = be_short;
            /* More than is committed: all caches are drained for it, in vain. */
            if (is_short)
                letter_free(letter_or_null(512 * MIB, now));
            if (!is_short && drains % 8 == 0)
                fork_once(&rng);
        }
        limit(RLIM_INFINITY);
        __atomic_store_n(&resting, 1, __ATOMIC_RELAXED);
        for (size_t i = 0; i < 4; i++)
            join(keepers[i]);
        alarms(0);
        whole();
        empty_mailboxes();
        /* The C library's own are there from the first round on. */
        size_t left = live_now();
        if (rounds == 0)
            empty = left;
        losses = left > empty + 64 * KIB ? left - empty : 0;
        CHECK_OP(losses, ==, 0);
        whole();
    }
    printf("%lu operations in %lu rounds; survived: %lu refusals, %lu forks, %lu signals, "
           "%lu threads, %lu drains; %lu walks; %zu bytes lost\n",
           operations, rounds, refusals, forks, signals, threads, drains, walks, losses);
    CHECK(operations > 10000 && forks > 0 && signals > 0 && threads > 10);
}
