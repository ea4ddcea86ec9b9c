/* Where programs come close to the edge: stacks of 16 KiB, threads that are
 * cancelled or exit in the middle. */
#include "threads.h"

#include <granule.h>
#include <malloc.h>
#include <sys/mman.h>

#pragma weak granule_check

static void whole(void)
{
    char text[128];
    if (granule_check(text, sizeof text) == 0)
        return;
    dprintf(2, "%s\n", text);
    _exit(1);
}

/* ---- The smallest stacks there are ---- */

#define STACK ((size_t)PTHREAD_STACK_MIN)
#define UNTOUCHED 0x5a

/* Everything, the thread's first use of the heap among it. */
static void *use_everything(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    void *blocks[24] = {NULL};
    for (int i = 0; i < 3000; i++) {
        size_t at = next_random(&rng) % 24, size = random_size(&rng, i % 100 ? 8 * KIB : 5 * MIB);
        switch (next_random(&rng) % 4) {
        case 0:
            free(blocks[at]);
            CHECK((blocks[at] = calloc(1, size)) != NULL || size == 0);
            break;
        case 1:
            CHECK((blocks[at] = realloc(blocks[at], size + 1)) != NULL);
            break;
        case 2:
            free(blocks[at]);
            CHECK(posix_memalign(&blocks[at], 4 * KIB, size) == 0);
            break;
        default:
            free(blocks[at]);
            CHECK((blocks[at] = malloc(size)) != NULL);
        }
    }
    malloc_trim(0);
    for (int i = 0; i < 24; i++)
        free(blocks[i]);
    return NULL;
}

static void *use_nothing(void *argument) { return argument; }

/* Runs a thread on a stack of our own; how many bytes of it were written. */
static size_t depth(void *(*body)(void *), void *argument)
{
    enum { BYTES = 256 * 1024 };
    static unsigned char *stack;
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;
    if (stack == NULL)
        stack = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    memset(stack, UNTOUCHED, BYTES);
    CHECK_OP(pthread_attr_init(&attributes), ==, 0);
    CHECK_OP(pthread_attr_setstack(&attributes, stack, BYTES), ==, 0);
    CHECK_OP(pthread_create(&thread, &attributes, body, argument), ==, 0);
    pthread_attr_destroy(&attributes);
    join(thread);
    while (stack[untouched] == UNTOUCHED)
        untouched++;
    return BYTES - untouched;
}

CASE(a_stack_of_16_kib_is_enough)
{
    pthread_attr_t attributes;
    for (size_t i = 0; i < 40; i++) {
        pthread_t thread;
        CHECK_OP(pthread_attr_init(&attributes), ==, 0);
        CHECK_OP(pthread_attr_setstacksize(&attributes, STACK), ==, 0);
        CHECK_OP(pthread_create(&thread, &attributes, use_everything, (void *)i), ==, 0);
        pthread_attr_destroy(&attributes);
        join(thread);
    }
    whole();
}

/* What the heap needs of a stack, measured: prints it. */
CASE(the_deepest_call_needs_less_than_8_kib)
{
    size_t empty = depth(use_nothing, NULL), deepest = 0;
    for (size_t i = 0; i < 20; i++) {
        size_t now = depth(use_everything, (void *)i);
        deepest = now > deepest ? now : deepest;
    }
    printf("deepest %zu bytes, of which %zu without the heap\n", deepest, empty);
    CHECK_OP(deepest - empty, <, 8 * KIB);
}

/* ---- Threads that end in the middle ---- */

static void *cancelled_anywhere(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    int before;
    for (;;) {
        /* The heap's calls are no places to be cancelled asynchronously: no
         * function but three is (POSIX). What surrounds them is. */
        CHECK_OP(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &before), ==, 0);
        post(&rng, 2 * KIB);
        CHECK_OP(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before), ==, 0);
        for (int spin = 0; spin < 100; spin++)
            __asm__ volatile("");
    }
    return NULL;
}

static void *exits_in_a_call(void *argument)
{
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (int i = 0; i < 300; i++)
        post(&rng, 2 * KIB);
    pthread_exit(malloc(100));
}

CASE(threads_end_in_the_middle)
{
    for (size_t i = 0; i < 300; i++) {
        pthread_t victim = start(cancelled_anywhere, (void *)i), other = start(exits_in_a_call, (void *)i);
        usleep(i % 7 * 50);
        CHECK_OP(pthread_cancel(victim), ==, 0);
        CHECK(join(victim) == PTHREAD_CANCELED);
        free(join(other));
    }
    empty_mailboxes();
    malloc_trim(0);
    whole();
}
