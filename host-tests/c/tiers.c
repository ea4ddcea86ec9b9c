/* One mistake a case, which a tier of checks catches at once, later or not.
 *
 * A case prints the pointer it misuses; "accessed" when the access that is the
 * mistake, if it is one, has been made; and "survived" when the call that is the
 * mistake (or the next one on the block) has returned. Then it goes on as a
 * program would, which is when a later check may come. */
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#pragma GCC diagnostic ignored "-Wuse-after-free"

#include "mistakes.h"

#include <granule.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

enum { SIZE = 200, LARGE = 300000 };

void free_sized(void *pointer, size_t size) __attribute__((weak));
void free_aligned_sized(void *pointer, size_t alignment, size_t size) __attribute__((weak));
#pragma weak granule_heap_new
#pragma weak granule_heap_free
#pragma weak granule_check

CASE(double_free_at_once)
{
    char *block = among_others(SIZE);
    free(HIDE(block));
    free_as_mistake(block, SIZE);
}

CASE(double_free_after_other_frees)
{
    char *block = among_others(SIZE), *other = among_others(SIZE);
    free(HIDE(block));
    free(HIDE(other));
    free_as_mistake(block, SIZE);
}

CASE(double_free_in_another_thread)
{
    char *block = among_others(SIZE);
    free(HIDE(block));
    about_to_misuse(block);
    accessed();
    in_another_thread(block);
    survived();
    go_on(SIZE);
}

CASE(double_free_of_a_block_used_again)
{
    char *block = among_others(SIZE);
    free(HIDE(block));
    char *again[4];
    for (int i = 0; i < 4; i++)
        CHECK((again[i] = malloc(SIZE)) != NULL);
    about_to_misuse(block);
    accessed();
    free(HIDE(block));
    survived();
    go_on(SIZE);
}

CASE(double_free_of_a_large_block)
{
    char *block = malloc(LARGE);
    free(HIDE(block));
    free_as_mistake(block, SIZE);
}

CASE(free_of_a_stack_address)
{
    char array[64] __attribute__((aligned(16)));
    array[0] = 0;
    free(HIDE(malloc(SIZE)));
    free_as_mistake(array + 16, SIZE);
}

CASE(free_of_a_global)
{
    static char array[64] __attribute__((aligned(16)));
    free(HIDE(malloc(SIZE)));
    free_as_mistake(array + 16, SIZE);
}

CASE(free_of_a_mapping)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    free(HIDE(malloc(SIZE)));
    free_as_mistake(pages + 4096, SIZE);
}

CASE(free_inside_a_small_block)
{
    free_as_mistake(among_others(SIZE) + 16, SIZE);
}

CASE(free_inside_a_large_block)
{
    char *block = malloc(LARGE);
    memset(block, 1, LARGE);
    free_as_mistake(block + 4096, SIZE);
}

CASE(wrong_size_of_another_class)
{
    CHECK(free_sized != NULL);
    char *block = among_others(SIZE);
    about_to_misuse(block);
    accessed();
    free_sized(HIDE(block), 2 * SIZE);
    survived();
    go_on(2 * SIZE);
}

CASE(wrong_size_of_the_same_class)
{
    CHECK(free_sized != NULL);
    char *block = among_others(SIZE);
    about_to_misuse(block);
    accessed();
    free_sized(HIDE(block), SIZE - 1);
    survived();
    go_on(SIZE);
}

CASE(wrong_alignment)
{
    CHECK(free_aligned_sized != NULL);
    char *block = among_others(SIZE);
    about_to_misuse(block);
    accessed();
    free_aligned_sized(HIDE(block), 64, SIZE);
    survived();
    go_on(SIZE);
}

CASE(free_in_another_heap)
{
    granule_heap_t *other = granule_heap_new();
    CHECK(other != NULL);
    char *block = among_others(SIZE);
    about_to_misuse(block);
    accessed();
    granule_heap_free(other, HIDE(block));
    survived();
    go_on(SIZE);
}

CASE(realloc_of_a_freed_block)
{
    char *block = among_others(SIZE);
    free(HIDE(block));
    about_to_misuse(block);
    accessed();
    CHECK(realloc(HIDE(block), 4 * SIZE) != NULL);
    survived();
    go_on(SIZE);
}

static void write_at(char *block, long at)
{
    /* Another byte than there was, whatever that is: seals can be any. */
    ((volatile char *)HIDE(block))[at] ^= 0x55;
}

/* Writes beside a block, which is found when it is freed, if then. */
static void write_and_free(char *block, long at)
{
    about_to_misuse(block);
    write_at(block, at);
    accessed();
    free(HIDE(block));
    survived();
    go_on(SIZE);
}

/* Writes from a block's end up to, and into, another one behind it; `named` is who may be
 * found at once. */
static void write_through(char *block, size_t size, char *other, char *named)
{
    about_to_misuse(named);
    memset(HIDE(block + size), 0x55, (size_t)(other - block) - size + 1);
    accessed();
    free(HIDE(block));
    survived();
}

/* Accesses a freed block, which is found when it is used again, if then. */
static void after_free(char *block, int writes)
{
    about_to_misuse(block);
    free(HIDE(block));
    if (writes)
        write_at(block, 7);
    else
        (void)((volatile char *)HIDE(block))[7];
    accessed();
    survived();
    go_on(SIZE);
}

CASE(one_byte_past_the_end)
{
    write_and_free(among_others(SIZE), SIZE);
}

CASE(one_byte_past_the_end_of_a_large_block)
{
    write_and_free(malloc(LARGE), LARGE);
}

CASE(one_byte_past_the_end_of_an_odd_large_block)
{
    write_and_free(malloc(LARGE + 1), LARGE + 1);
}

CASE(into_the_next_large_block)
{
    /* Both of them, so that there is one behind. */
    char *block = malloc(LARGE), *other = malloc(LARGE);
    CHECK(block != NULL && other != NULL);
    write_and_free(block, LARGE + 5000);
}

CASE(through_to_the_next_large_block)
{
    char *block = malloc(LARGE), *other = malloc(LARGE);
    CHECK(block != NULL && other != NULL);
    if (other < block) {
        char *swap = block;
        block = other;
        other = swap;
    }
    write_through(block, LARGE, other, block);
    free(HIDE(other));
    go_on(SIZE);
}

enum { MANY = 6000, ODD = 150, OFTEN = 40, STEP = 3000 };
static char *blocks[MANY];

static int by_address(const void *one, const void *other)
{
    char *const *left = one, *const *right = other;
    return *left < *right ? -1 : *left > *right;
}

/* Fills slabs; each class's last objects are followed by less than one of them. */
static void fill_slabs(void)
{
    for (size_t i = 0; i < MANY; i++) {
        CHECK((blocks[i] = malloc(ODD)) != NULL);
        memset(blocks[i], 1, ODD);
    }
    qsort(blocks, MANY, sizeof *blocks, by_address);
}

CASE(through_to_the_next_slab)
{
    fill_slabs();
    size_t stride = (size_t)-1, least = (size_t)-1, i = 0;
    for (size_t j = 0; j + 1 < MANY; j++)
        if ((size_t)(blocks[j + 1] - blocks[j]) < stride)
            stride = (size_t)(blocks[j + 1] - blocks[j]);
    /* The end of a slab: the shortest distance that is no other's. Where objects are
     * handed out at random, some between these are free. */
    for (size_t j = 0; j + 1 < MANY; j++) {
        size_t distance = (size_t)(blocks[j + 1] - blocks[j]);
        if (distance % stride != 0 && distance < least) {
            least = distance;
            i = j;
        }
    }
    CHECK(least < 3 * stride);
    write_through(blocks[i], ODD, blocks[i + 1], blocks[i]);
    free(HIDE(blocks[i + 1]));
    go_on(ODD);
}

CASE(through_to_the_run_behind_a_slab)
{
    static char *large[MANY / OFTEN];
    for (size_t i = 0; i < MANY; i++) {
        CHECK((blocks[i] = malloc(ODD)) != NULL);
        if (i % OFTEN == 0)
            CHECK((large[i / OFTEN] = malloc(LARGE)) != NULL);
    }
    /* The nearest that there are: the last of a slab, and what lies behind it. */
    size_t near = (size_t)-1;
    char *block = NULL, *run = NULL;
    for (size_t i = 0; i < MANY; i++)
        for (size_t j = 0; j < MANY / OFTEN; j++)
            if (large[j] > blocks[i] && (size_t)(large[j] - blocks[i]) < near) {
                block = blocks[i], run = large[j];
                near = (size_t)(run - block);
            }
    CHECK(near < 3 * 4096);
    /* The guard is the run's. */
    write_through(block, ODD, run, run);
    free(HIDE(run));
    go_on(ODD);
}

static sigjmp_buf back;

static void goes_back(int number)
{
    siglongjmp(back, number);
}

/* Under a limit of address space regions are small, and there are many. */
CASE(through_to_the_next_region)
{
    enum { PIECES = 16000 };
    static char *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++)
        CHECK((pieces[i] = malloc(STEP)) != NULL);
    qsort(pieces, PIECES, sizeof *pieces, by_address);
    /* A region's tables lie between its blocks and those of the one below. */
    size_t last = 0;
    while ((size_t)(pieces[last + 1] - pieces[last]) < 17 * STEP)
        CHECK(++last + 1 < PIECES);
    signal(SIGSEGV, goes_back);
    about_to_misuse(pieces[last]);
    char *volatile at = pieces[last];
    if (sigsetjmp(back, 1) == 0)
        for (at += STEP; at < pieces[last + 1]; at++)
            *(volatile char *)at = 0x55;
    else
        say("faulted\n", 8);
    CHECK(at < pieces[last + 1] && (uintptr_t)at % 4096 == 0);
    /* Nothing of the next region is harmed: its blocks can be freed. */
    for (size_t i = last + 1; i < PIECES; i++)
        free(HIDE(pieces[i]));
    for (size_t i = 0; i < PIECES; i++)
        CHECK(malloc(STEP) != NULL);
    CHECK(granule_check == NULL || granule_check(NULL, 0) == 0);
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

CASE(one_byte_before_the_start)
{
    write_and_free(among_others(SIZE), -1);
}

CASE(one_byte_before_the_start_of_a_large_block)
{
    write_and_free(malloc(LARGE), -1);
}

CASE(before_the_pages_of_a_large_block)
{
    char *other = malloc(LARGE), *block = malloc(LARGE);
    CHECK(block != NULL && other != NULL);
    write_and_free(block, -5000);
}

CASE(write_after_free)
{
    after_free(among_others(SIZE), 1);
}

CASE(write_after_free_of_a_large_block)
{
    after_free(malloc(LARGE), 1);
}

CASE(read_after_free)
{
    after_free(among_others(SIZE), 0);
}

CASE(read_after_free_of_a_large_block)
{
    after_free(malloc(LARGE), 0);
}

/* Functions of which the calls return into themselves. */
static __attribute__((noinline)) void *allocates(size_t size)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    return block;
}

static __attribute__((noinline)) void *frees(void *block)
{
    static char text[32];
    free(HIDE(block));
    say(text, (size_t)snprintf(text, sizeof text, "%d\n", (int)gettid()));
    return NULL;
}

static __attribute__((noinline)) void *reallocates(size_t size)
{
    void *block = realloc(malloc(size / 3), size);
    CHECK(block != NULL);
    return block;
}

/* Tells the block, the threads, and the functions that allocate and free. */
static void freed_in_another_thread(void *allocates(size_t), size_t size)
{
    char text[64];
    pthread_t thread;
    void *block = allocates(size);
    about_to_misuse(block);
    say(text, (size_t)snprintf(text, sizeof text, "%d\n", (int)gettid()));
    CHECK(pthread_create(&thread, NULL, frees, block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    say(text, (size_t)snprintf(text, sizeof text, "%p\n%p\n", (void *)allocates, (void *)frees));
    free(HIDE(block));
}

CASE(who_freed_a_small_block)
{
    freed_in_another_thread(allocates, SIZE);
}

CASE(who_freed_a_large_block)
{
    freed_in_another_thread(allocates, LARGE);
}

CASE(who_freed_a_reallocated_block)
{
    freed_in_another_thread(reallocates, SIZE);
}

CASE(nothing_wrong)
{
    about_to_misuse(NULL);
    accessed();
    survived();
    for (size_t size = 1; size < 3 * MIB; size += size / 3 + 1) {
        char *block = malloc(size), *zero = calloc(1, size), *page = NULL;
        CHECK(block != NULL && zero != NULL);
        CHECK(posix_memalign((void **)&page, 64 << (size % 9), size) == 0);
        memset(block, 2, size);
        CHECK(zero[size - 1] == 0);
        block = realloc(block, 3 * size);
        CHECK(block != NULL && block[size - 1] == 2);
        block = realloc(block, size);
        CHECK(block != NULL && block[size - 1] == 2);
        page = realloc(page, 2 * size);
        CHECK(page != NULL && free_sized != NULL);
        free_sized(page, 2 * size);
        free_sized(zero, size);
        free_sized(block, size);
    }
    go_on(SIZE);
    go_on(LARGE);
}
