/* fork in a program whose other threads allocate without pause. */
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#pragma weak granule_check
#pragma weak granule_get_stats
#pragma weak granule_heap_new
#pragma weak granule_heap_destroy
#pragma weak granule_heap_malloc

#define HAMMERS 4

static int stop;
static struct block parents_blocks[500];

static void *hammer(void *argument)
{
    struct block blocks[200] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        churn(blocks, 200, 200, 2 * KIB, &rng);
        churn(blocks, 4, 4, 200 * KIB, &rng);
        post(&rng, KIB);
        free(malloc(MIB));
    }
    blocks_free(blocks, 200);
    return NULL;
}

static void start_hammers(pthread_t *threads)
{
    for (size_t i = 0; i < HAMMERS; i++)
        threads[i] = start(hammer, (void *)i);
}

static void stop_hammers(pthread_t *threads)
{
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < HAMMERS; i++)
        join(threads[i]);
    empty_mailboxes();
}

static void *childs_thread(void *argument)
{
    struct block blocks[100] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    churn(blocks, 100, 2000, 16 * KIB, &rng);
    post(&rng, KIB);
    blocks_free(blocks, 100);
    return NULL;
}

/* Only preloaded or linked with us there is a walk: elsewhere, none to fail. */
static void whole(void)
{
    char text[128];
    if (granule_check == NULL || granule_check(text, sizeof text) == 0)
        return;
    dprintf(2, "%s\n", text);
    _exit(1);
}

/* What a child does with the heap it inherited. */
static void live_as_child(void)
{
    struct block blocks[300] = {{NULL, 0, 0}};
    uint64_t rng = (uint64_t)getpid() | 1;
    pthread_t threads[2];

    whole();
    churn(blocks, 300, 3000, 32 * KIB, &rng);
    blocks_free(parents_blocks, 500); /* the forking thread's */
    empty_mailboxes();                /* the other threads' */
    for (size_t i = 0; i < 2; i++)
        threads[i] = start(childs_thread, (void *)i);
    for (size_t i = 0; i < 2; i++)
        join(threads[i]);
    blocks_free(blocks, 300);
    free(malloc(8 * MIB));
    malloc_trim(0);
    whole();
}

/* Forks; the child lives, under a deadline, and then ends. */
static pid_t forked(void (*end)(void))
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(15); /* a deadlocked child dies of SIGALRM */
        live_as_child();
        end();
    }
    return child;
}

static void wait_for(pid_t child)
{
    int status;
    CHECK_OP(waitpid(child, &status, 0), ==, child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        dprintf(2, "deadlock in the child of a fork\n");
    CHECK_OP(status, ==, 0);
}

static void end_at_once(void) { _exit(0); }
static void end_normally(void) { exit(0); }

static void end_in_another_program(void)
{
    execl("/proc/self/exe", "fork", "the_program_to_exec", (char *)NULL);
    _exit(126);
}

CASE(the_program_to_exec)
{
    struct block blocks[50] = {{NULL, 0, 0}};
    uint64_t rng = 1;
    churn(blocks, 50, 500, 16 * KIB, &rng);
    blocks_free(blocks, 50);
}

static void fork_under_load(size_t forks, void (*end)(void))
{
    pthread_t threads[HAMMERS];
    uint64_t rng = 11;
    start_hammers(threads);
    for (size_t i = 0; i < forks; i++) {
        churn(parents_blocks, 500, 1000, 4 * KIB, &rng);
        wait_for(forked(end));
    }
    blocks_free(parents_blocks, 500);
    stop_hammers(threads);
}

CASE(children_that_exit_at_once) { fork_under_load(40 * scale(), end_at_once); }
CASE(children_that_exit_normally) { fork_under_load(20 * scale(), end_normally); }
CASE(children_that_exec) { fork_under_load(20 * scale(), end_in_another_program); }

CASE(several_children_at_once)
{
    pthread_t threads[HAMMERS];
    pid_t children[8];
    start_hammers(threads);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++)
            children[i] = forked(end_at_once);
        for (int i = 0; i < 8; i++)
            wait_for(children[i]);
    }
    stop_hammers(threads);
}

/* Slabs and runs are marked, and marks taken away, without pause. */
static void *mark(void *argument)
{
    struct block blocks[64] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        churn(blocks, 64, 64, 40 * KIB, &rng);
        void *run = malloc(300 * KIB);
        CHECK((run = realloc(run, 900 * KIB)) != NULL);
        CHECK((run = realloc(run, 100 * KIB)) != NULL);
        free(run);
        blocks_free(blocks, 64);
        if (argument == NULL)
            malloc_trim(0);
    }
    return NULL;
}

CASE(a_child_finds_every_mark_whole)
{
    pthread_t threads[HAMMERS];
    for (size_t i = 0; i < HAMMERS; i++)
        threads[i] = start(mark, (void *)i);
    for (size_t i = 0; i < 120 * scale(); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(15);
            whole();
            _exit(0);
        }
        wait_for(child);
    }
    stop_hammers(threads);
}

static void *trim(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        malloc_trim(0);
    return unused;
}

/* What is free when a thread purges it is free in the child. */
CASE(no_child_loses_what_is_being_purged)
{
    enum { SMALL = 4000 };
    static void *small[SMALL];
    struct granule_stats stats = {0};
    pthread_t trimming = start(trim, NULL);
    for (size_t i = 0; i < 24 * scale(); i++) {
        char *large = malloc(64 * MIB);
        CHECK(large != NULL);
        for (size_t at = 0; at < 64 * MIB; at += 4 * KIB)
            large[at] = 1;
        for (size_t at = 0; at < SMALL; at++)
            CHECK((small[at] = malloc(KIB)) != NULL);
        /* One in 64 stays, so that most pages of slabs are free. */
        for (size_t at = 0; at < SMALL; at++)
            if (at % 64 != 0)
                free(small[at]);
        free(large);
        if (i % 4 != 0)
            usleep(i % 4 * 300);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(15);
            whole();
            if (granule_get_stats != NULL)
                CHECK_OP(granule_get_stats(&stats), ==, 0);
            CHECK_OP(stats.live_bytes, <, MIB);
            _exit(0);
        }
        wait_for(child);
        for (size_t at = 0; at < SMALL; at += 64)
            free(small[at]);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    join(trimming);
}

static void make_and_end(void)
{
    granule_heap_t *heap = granule_heap_new();
    CHECK(heap != NULL && granule_heap_malloc(heap, 100) != NULL);
    CHECK_OP(granule_heap_destroy(heap), ==, 0);
}

static void *make_heaps(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        make_and_end();
    return unused;
}

CASE(children_make_heaps_while_other_threads_do)
{
    pthread_t making[3];
    /* So that all that follow use handles again. */
    for (int i = 0; i < 1100; i++)
        make_and_end();
    for (int i = 0; i < 3; i++)
        making[i] = start(make_heaps, NULL);
    for (size_t i = 0; i < 200 * scale(); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(15);
            make_and_end();
            whole();
            _exit(0);
        }
        wait_for(child);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        join(making[i]);
}

static void fork_again(void)
{
    pid_t grandchild = forked(end_at_once);
    wait_for(grandchild);
    _exit(0);
}

CASE(grandchildren) { fork_under_load(10 * scale(), fork_again); }

/* Handlers of fork may allocate: the allocator has to stop after the last of
 * them has run, and to go on before the first. */
static int handled;

static void handle_fork(void)
{
    struct block blocks[100] = {{NULL, 0, 0}};
    uint64_t rng = (uint64_t)getpid() | 1;
    churn(blocks, 100, 500, 64 * KIB, &rng);
    blocks_free(blocks, 100);
    __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
}

__attribute__((constructor(101))) static void before_main(void)
{
    CHECK_OP(pthread_atfork(handle_fork, handle_fork, handle_fork), ==, 0);
}

static void check_handlers(void)
{
    CHECK_OP(handled % 2, ==, 0);
    _exit(handled >= 2 ? 0 : 4);
}

CASE(handlers_of_fork_allocate) { fork_under_load(20 * scale(), check_handlers); }

static void *fork_in_thread(void *argument)
{
    (void)argument;
    for (int i = 0; i < 10; i++)
        wait_for(forked(end_at_once));
    return NULL;
}

CASE(several_threads_fork)
{
    pthread_t threads[HAMMERS], forking[3];
    start_hammers(threads);
    for (int i = 0; i < 3; i++)
        forking[i] = start(fork_in_thread, NULL);
    for (int i = 0; i < 3; i++)
        join(forking[i]);
    stop_hammers(threads);
}

CASE(spawn_popen_and_vfork)
{
    extern char **environ;
    pthread_t threads[HAMMERS];
    char *arguments[] = {(char *)"sh", (char *)"-c", (char *)"exit 0", NULL};
    start_hammers(threads);
    for (int i = 0; i < 15; i++) {
        pid_t child;
        char line[32];
        CHECK_OP(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ), ==, 0);
        wait_for(child);
        FILE *pipe = popen("echo hello", "r");
        CHECK(pipe != NULL && fgets(line, sizeof line, pipe) && strcmp(line, "hello\n") == 0);
        CHECK_OP(pclose(pipe), ==, 0);
        child = vfork();
        if (child == 0)
            _exit(0);
        wait_for(child);
    }
    stop_hammers(threads);
}

CASE(a_chain_of_forks_does_not_grow)
{
    size_t before = 0;
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0) {
            /* Each generation waits for the next and passes its status on. */
            int status;
            CHECK_OP(waitpid(child, &status, 0), ==, child);
            _exit(status == 0 ? 0 : 1);
        }
        alarm(15);
        struct block blocks[200] = {{NULL, 0, 0}};
        uint64_t rng = (uint64_t)i + 1;
        churn(blocks, 200, 2000, 8 * KIB, &rng);
        blocks_free(blocks, 200);
        if (i == 5)
            before = resident();
    }
    CHECK_OP(resident(), <, before + 8 * MIB);
    _exit(0);
}
