/* Which front end a process has, and what only one of CPUs can go wrong in.
 * tests/rseq.rs knows what to expect of each case where. */
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#ifndef __NR_rseq
#define __NR_rseq (sizeof(void *) == 8 && sizeof(long) == 8 ? 334 : 293)
#endif
#define SIGNATURE 0x53053053

/* Without granule the program only says what is possible. */
#pragma weak granule_get_stats

/* A program's own area, as a library that has come first would register it. */
static __thread struct {
    uint32_t words[8];
} __attribute__((aligned(32))) foreign;

static long register_foreign(void)
{
    return syscall(__NR_rseq, &foreign, sizeof foreign, 0, SIGNATURE);
}

/* Before any constructor; where GRANULE_TEST_FOREIGN says so. */
static void come_first(int argc, char **argv, char **environment)
{
    (void)argc;
    (void)argv;
    for (; *environment; environment++)
        if (strcmp(*environment, "GRANULE_TEST_FOREIGN=1") == 0)
            CHECK_OP(register_foreign(), ==, 0);
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) =
    come_first;

/* Prints whether this kernel has what caches of CPUs need. */
CASE(possible)
{
    enum { RESTART = 1 << 7 };
    long known = syscall(__NR_membarrier, 0, 0, 0);
    int ours = register_foreign() == 0;
    int other = errno == EINVAL || errno == EBUSY;
    puts(known > 0 && (known & RESTART) && (ours || other) ? "possible" : "impossible");
}

/* Prints malloc_stats, which says what was chosen. */
CASE(chosen)
{
    free(malloc(100));
    malloc_stats();
}

static void *work(void *argument)
{
    struct block blocks[64] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 64, 20000 * scale(), 4 * KIB, &rng);
    for (int i = 0; i < 2000; i++)
        post(&rng, KIB);
    blocks_free(blocks, 64);
    return NULL;
}

static void *work_with_a_foreign_area(void *argument)
{
    /* EINVAL: the thread has one, which the C library or granule uses. */
    CHECK(register_foreign() == 0 || errno == EINVAL);
    return work(argument);
}

/* Threads whose area is somebody else's work beside those with ours. */
CASE(a_foreign_area_in_some_threads)
{
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        threads[i] = start(i % 2 ? work_with_a_foreign_area : work, (void *)i);
    for (size_t i = 0; i < 8; i++)
        join(threads[i]);
    empty_mailboxes();
}

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

static void *hopping(void *argument)
{
    struct block blocks[64] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (int i = 0; i < 200; i++) {
        hop(&rng);
        churn(blocks, 64, 100 * scale(), 4 * KIB, &rng);
        for (int k = 0; k < 50; k++)
            post(&rng, KIB);
    }
    blocks_free(blocks, 64);
    return NULL;
}

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms = alarms + 1;
}

static void storm(long microseconds)
{
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    CHECK_OP(sigaction(SIGALRM, &action, NULL), ==, 0);
    CHECK_OP(setitimer(ITIMER_REAL, &timer, NULL), ==, 0);
}

/* Sixteen threads that hop, under signals and drains, lose nothing. */
CASE(threads_hop_under_signals_and_drains)
{
    pthread_t threads[16];
    struct granule_stats before, after;
    malloc_trim(0);
    CHECK_OP(granule_get_stats(&before), ==, 0);
    storm(300);
    for (size_t i = 0; i < 16; i++)
        threads[i] = start(hopping, (void *)i);
    for (int i = 0; i < 100; i++) {
        malloc_trim(0);
        usleep(1000);
    }
    for (size_t i = 0; i < 16; i++)
        join(threads[i]);
    storm(0);
    empty_mailboxes();
    malloc_trim(0);
    CHECK_OP(granule_get_stats(&after), ==, 0);
    CHECK_OP(after.live_bytes, <=, before.live_bytes + 64 * KIB);
    CHECK_OP(alarms, >, 0);
}

/* Forks while others work and signals strike; the children use everything,
 * with threads of their own. */
CASE(forks_under_load_and_signals)
{
    pthread_t threads[4];
    storm(500);
    for (size_t i = 0; i < 4; i++)
        threads[i] = start(hopping, (void *)i);
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = fork();
        CHECK_OP(child, >=, 0);
        if (child == 0) {
            pthread_t more = start(work, (void *)7);
            hopping((void *)3);
            join(more);
            malloc_trim(0);
            _exit(0);
        }
        while (waitpid(child, &status, 0) < 0)
            CHECK_OP(errno, ==, EINTR);
        CHECK_OP(status, ==, 0);
    }
    for (size_t i = 0; i < 4; i++)
        join(threads[i]);
    empty_mailboxes();
}

static pthread_barrier_t everyone;

static void *warm_and_wait(void *argument)
{
    struct block blocks[200] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 200, 2000, 2 * KIB, &rng);
    blocks_free(blocks, 200);
    pthread_barrier_wait(&everyone);
    pthread_barrier_wait(&everyone);
    return NULL;
}

/* What is cached follows the CPUs, not the threads. */
CASE(a_thousand_idle_threads_cache_no_more_than_the_cpus)
{
    enum { COUNT = 1000 };
    static pthread_t threads[COUNT];
    struct granule_stats stats;
    CHECK_OP(pthread_barrier_init(&everyone, NULL, COUNT + 1), ==, 0);
    for (size_t i = 0; i < COUNT; i++)
        threads[i] = start(warm_and_wait, (void *)i);
    pthread_barrier_wait(&everyone);
    CHECK_OP(granule_get_stats(&stats), ==, 0);
    CHECK_OP(stats.threads, <=, sysconf(_SC_NPROCESSORS_CONF));
    CHECK_OP(stats.cached_bytes, <=, stats.threads * 3 * MIB + 8 * MIB);
    pthread_barrier_wait(&everyone);
    for (size_t i = 0; i < COUNT; i++)
        join(threads[i]);
}
