/* Blocks between guard pages: GRANULE_SAMPLE=1 samples every miss, so the first
 * block of a size that nothing else uses.
 *
 * A case prints the block and what its report has to name: as for tiers.c. */
#pragma GCC diagnostic ignored "-Wuse-after-free"

#include "blocks.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SIZE = 1000, PAGE = 4096 };

void free_sized(void *pointer, size_t size) __attribute__((weak));
void free_aligned_sized(void *pointer, size_t align, size_t size) __attribute__((weak));

static void tell(const void *pointer)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%p\n", pointer);
    CHECK(write(1, text, (size_t)length) == length);
}

/* Whether the byte can be read: the kernel says so, where we would fault. */
static int is_readable(const void *at)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    long written = write(ends[1], at, 1);
    close(ends[0]);
    close(ends[1]);
    return written == 1;
}

/* A sampled block: all of the pages before it or behind it are guards. */
static volatile char *guarded(char *block, size_t size)
{
    CHECK(block != NULL);
    char *page = (char *)((uintptr_t)block & -(uintptr_t)PAGE);
    CHECK(!is_readable(page - 1) && !is_readable(block + size + PAGE));
    memset(block, 1, size);
    tell(block);
    return HIDE(block);
}

static __attribute__((noinline)) volatile char *sampled(size_t size)
{
    return guarded(malloc(size), size);
}

/* The same, grown out of another block. */
static __attribute__((noinline)) volatile char *sampled_by_realloc(size_t size)
{
    return guarded(realloc(malloc(size / 4), size), size);
}

CASE(overflow_of_a_grown_block)
{
    volatile char *block = sampled_by_realloc(SIZE);
    for (size_t i = 0;; i++)
        block[i] = 2;
}

CASE(use_after_free_of_a_grown_block)
{
    volatile char *block = sampled_by_realloc(SIZE);
    free((void *)block);
    (void)block[SIZE / 2];
}

CASE(overflow_read)
{
    volatile char *block = sampled(SIZE);
    for (size_t i = 0;; i++)
        (void)block[i];
}

CASE(overflow_write)
{
    volatile char *block = sampled(SIZE);
    for (size_t i = 0;; i++)
        block[i] = 2;
}

CASE(underflow)
{
    volatile char *block = sampled(SIZE);
    for (long i = 0;; i--)
        block[i] = 2;
}

CASE(use_after_free)
{
    volatile char *block = sampled(SIZE);
    free((void *)block);
    (void)block[SIZE / 2];
}

CASE(write_after_free_in_another_block_s_time)
{
    volatile char *block = sampled(SIZE);
    free((void *)block);
    for (size_t i = 0; i < 40; i++)
        free(HIDE(malloc(2000 + 100 * i)));
    block[0] = 1;
}

static void *free_it(void *block)
{
    free(block);
    return NULL;
}

CASE(double_free)
{
    volatile char *block = sampled(SIZE);
    free((void *)block);
    free((void *)block);
}

CASE(double_free_in_another_thread)
{
    volatile char *block = sampled(SIZE);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_it, (void *)block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    free((void *)block);
}

CASE(double_free_by_size)
{
    volatile char *block = sampled(SIZE);
    free_sized((void *)block, SIZE);
    free_sized((void *)block, SIZE);
}

CASE(free_inside)
{
    volatile char *block = sampled(SIZE);
    tell((void *)(block + 16));
    free((void *)(block + 16));
}

CASE(written_behind)
{
    volatile char *block = sampled(SIZE);
    block[SIZE] = 2;
    free((void *)block);
}

CASE(after_fork)
{
    volatile char *block = sampled(SIZE);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free((void *)block);
        (void)block[0];
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    /* The parent's is as it was. */
    CHECK(block[0] == 1);
    free((void *)block);
    (void)block[0];
}

static void say_handled(const char *text)
{
    CHECK(write(1, text, strlen(text)) == (long)strlen(text));
}

static void on_signal(int signal)
{
    say_handled(signal == SIGSEGV ? "handled plainly\n" : "?\n");
    _exit(7);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    int right = signal == SIGSEGV && context != NULL && info->si_addr == (void *)64;
    say_handled(right ? "handled\n" : "?\n");
    _exit(7);
}

static void no_object(void)
{
    *(volatile char *)HIDE((char *)64) = 1;
}

/* The program's own handler, installed before the first sample, gets what is
 * not ours. */
CASE(own_handler_gets_other_faults)
{
    struct sigaction own = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &own, NULL) == 0);
    sampled(SIZE);
    no_object();
}

CASE(own_plain_handler_gets_other_faults)
{
    struct sigaction own = {.sa_handler = on_signal};
    CHECK(sigaction(SIGSEGV, &own, NULL) == 0);
    sampled(SIZE);
    no_object();
}

CASE(own_handler_does_not_get_ours)
{
    struct sigaction own = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &own, NULL) == 0);
    volatile char *block = sampled(SIZE);
    free((void *)block);
    block[0] = 1;
}

CASE(other_faults_end_the_program_as_ever)
{
    sampled(SIZE);
    no_object();
}

CASE(signals_that_are_sent_end_the_program_as_ever)
{
    sampled(SIZE);
    CHECK(kill(getpid(), SIGSEGV) == 0);
    for (;;)
        pause();
}

CASE(signals_that_are_ignored_stay_ignored)
{
    CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR);
    sampled(SIZE);
    CHECK(kill(getpid(), SIGSEGV) == 0);
    say_handled("ignored\n");
    _exit(7);
}

/* Where nothing below can be written, as after a stack overflow, the report comes
 * on the program's alternate stack. */
static void *on_a_stack_of_its_own(void *end)
{
    stack_t stack = {.ss_sp = malloc(64 * KIB), .ss_size = 64 * KIB};
    CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
    volatile char *block = sampled(SIZE);
    free((void *)block);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0) & -(uintptr_t)PAGE;
    CHECK(mprotect(end, here - (uintptr_t)end, PROT_READ) == 0);
    (void)block[0];
    return NULL;
}

CASE(reports_on_the_alternate_stack)
{
    char *stack = mmap(NULL, 256 * KIB, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, 256 * KIB) == 0);
    CHECK(pthread_create(&thread, &attributes, on_a_stack_of_its_own, stack) == 0);
    pthread_join(thread, NULL);
}

/* Correct programs do not notice. */
CASE(nothing_wrong)
{
    uint64_t random = 1;
    enum { COUNT = 400 };
    static struct {
        void *block;
        size_t size;
    } live[COUNT];
    for (int i = 0; i < 6000; i++) {
        size_t at = next_random(&random) % COUNT, size = next_random(&random) % 20000 + 1;
        if (live[at].block != NULL) {
            verify(live[at].block, live[at].size, at);
            switch (next_random(&random) % 4) {
            case 0:
                free_sized(live[at].block, live[at].size);
                break;
            case 1:
                live[at].block = realloc(live[at].block, size);
                CHECK(live[at].block != NULL);
                verify(live[at].block, size < live[at].size ? size : live[at].size, at);
                free(live[at].block);
                break;
            default:
                free(live[at].block);
            }
        }
        live[at].block = i % 3 == 0 ? calloc(1, size) : malloc(size);
        live[at].size = size;
        size_t align = size > 8 ? 16 : 8;
        CHECK(live[at].block != NULL && (uintptr_t)live[at].block % align == 0);
        CHECK(malloc_usable_size(live[at].block) >= size);
        if (i % 3 == 0)
            verify_zero(live[at].block, size);
        fill(live[at].block, 0, size, at);
    }
    say_handled("ended\n");
    _exit(7);
}
