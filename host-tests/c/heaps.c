/* Heaps besides the process's, and pools on memory of the program's. */
#include "threads.h"

#include "granule.h"

/* Weak: a program to be preloaded is linked without the library. */
#pragma weak granule_heap_new
#pragma weak granule_heap_new_with
#pragma weak granule_heap_delete
#pragma weak granule_heap_destroy
#pragma weak granule_heap_reset
#pragma weak granule_heap_malloc
#pragma weak granule_heap_calloc
#pragma weak granule_heap_realloc
#pragma weak granule_heap_aligned_alloc
#pragma weak granule_heap_free
#pragma weak granule_heap_of
#pragma weak granule_heap_contains
#pragma weak granule_heap_cap
#pragma weak granule_heap_get_stats
#pragma weak granule_pool_create
#pragma weak granule_pool_create_fixed
#pragma weak granule_pool_identify
#pragma weak granule_pool_reset
#pragma weak granule_pool_destroy
#pragma weak granule_pool_fault
#pragma weak granule_get_stats
#pragma weak free_sized
#pragma weak free_aligned_sized

static const size_t SIZES[] = {1, 24, 100, 1000, 5000, 40000, 300000, 3 * MIB};
enum { SIZES_COUNT = sizeof SIZES / sizeof *SIZES };

static size_t live(granule_heap_t *heap)
{
    struct granule_stats now;
    CHECK_OP(granule_heap_get_stats(heap, &now), ==, 0);
    return now.live_bytes;
}

/* One block of each size, written to. */
static void fill_heap(granule_heap_t *heap, void **blocks)
{
    for (int i = 0; i < SIZES_COUNT; i++) {
        blocks[i] = granule_heap_malloc(heap, SIZES[i]);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], i, SIZES[i]);
        CHECK(granule_heap_of(blocks[i]) == heap);
        CHECK_OP(granule_heap_contains(heap, blocks[i]), ==, 1);
        CHECK_OP(malloc_usable_size(blocks[i]), >=, SIZES[i]);
    }
}

static granule_heap_t *kind(int number)
{
    granule_heap_t *heap =
        number == 0 ? granule_heap_new() : granule_heap_new_with(number == 1 ? 0 : 64 * MIB, NULL);
    CHECK(heap != NULL);
    return heap;
}

CASE(every_function_works_on_every_kind)
{
    for (int number = 0; number < 3; number++) {
        granule_heap_t *heap = kind(number);
        void *blocks[SIZES_COUNT];
        CHECK_OP(granule_heap_cap(heap), ==, number == 2 ? 64 * MIB : 0);
        CHECK_OP(live(heap), ==, 0);
        fill_heap(heap, blocks);
        for (int i = 0; i < SIZES_COUNT; i++) {
            unsigned char *grown = granule_heap_realloc(heap, blocks[i], 2 * SIZES[i] + 8);
            CHECK(grown != NULL && granule_heap_of(grown) == heap);
            CHECK(grown[0] == i && grown[SIZES[i] - 1] == i);
            granule_heap_free(heap, grown);
            unsigned char *zero = granule_heap_calloc(heap, 3, SIZES[i]);
            CHECK(zero != NULL && zero[0] == 0 && zero[3 * SIZES[i] - 1] == 0);
            granule_heap_free(heap, zero);
            for (size_t align = 8; align <= MIB; align *= 4) {
                void *aligned = granule_heap_aligned_alloc(heap, align, SIZES[i]);
                CHECK(aligned != NULL && (uintptr_t)aligned % align == 0);
                granule_heap_free(heap, aligned);
            }
        }
        granule_heap_free(heap, NULL);
        void *block = granule_heap_realloc(heap, NULL, 10);
        CHECK(block != NULL && granule_heap_realloc(heap, block, 0) == NULL);
        CHECK_OP(live(heap), ==, 0);
        CHECK_OP(granule_heap_delete(heap), ==, 0);
    }
}

CASE(what_is_live_ends_with_the_heap)
{
    struct granule_stats before, after;
    void *blocks[SIZES_COUNT];
    granule_get_stats(&before);
    for (int round = 0; round < 50; round++) {
        granule_heap_t *heap = kind(round % 3);
        fill_heap(heap, blocks);
        errno = 0;
        CHECK(granule_heap_delete(heap) == -1 && errno == EBUSY);
        CHECK_OP(granule_heap_reset(heap), ==, 0);
        CHECK_OP(live(heap), ==, 0);
        fill_heap(heap, blocks);
        CHECK_OP(granule_heap_destroy(heap), ==, 0);
        CHECK(granule_heap_of(blocks[0]) == NULL);
    }
    granule_get_stats(&after);
    /* Tickets, 32 bytes each, stay. */
    CHECK_OP(after.live_bytes, <=, before.live_bytes + 50 * 64);
}

CASE(the_functions_of_c_take_blocks_of_heaps)
{
    for (int number = 0; number < 3; number++) {
        granule_heap_t *heap = kind(number);
        void *blocks[SIZES_COUNT];
        fill_heap(heap, blocks);
        for (int i = 0; i < SIZES_COUNT; i++) {
            void *grown = realloc(blocks[i], 3 * SIZES[i]);
            CHECK(grown != NULL && granule_heap_of(grown) == heap);
            free(grown);
            void *sized = granule_heap_malloc(heap, SIZES[i]);
            CHECK(sized != NULL);
            if (free_sized)
                free_sized(sized, SIZES[i]);
            else
                free(sized);
            void *aligned = granule_heap_aligned_alloc(heap, 64, SIZES[i]);
            CHECK(aligned != NULL);
            if (free_aligned_sized)
                free_aligned_sized(aligned, 64, SIZES[i]);
            else
                free(aligned);
        }
        CHECK_OP(live(heap), ==, 0);
        CHECK_OP(granule_heap_destroy(heap), ==, 0);
    }
}

CASE(caps_and_bad_arguments)
{
    errno = 0;
    CHECK(granule_heap_new_with(1000, NULL) == NULL && errno == EINVAL);
    granule_heap_t *heap = granule_heap_new_with(1 * MIB, NULL);
    errno = 0;
    CHECK(granule_heap_malloc(heap, 2 * MIB) == NULL && errno == ENOMEM);
    size_t got = 0;
    while (granule_heap_malloc(heap, 1000))
        got += 1000;
    CHECK(got > 500000 && got < 1 * MIB);
    errno = 0;
    CHECK(granule_heap_calloc(heap, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(granule_heap_aligned_alloc(heap, 24, 8) == NULL && errno == EINVAL);
    CHECK_OP(granule_heap_get_stats(heap, NULL), ==, -1);
    CHECK_OP(granule_heap_destroy(heap), ==, 0);

    granule_heap_t *none = HIDE((granule_heap_t *)NULL);
    errno = 0;
    CHECK(granule_heap_malloc(none, 8) == NULL && errno == EINVAL);
    CHECK(granule_heap_calloc(none, 1, 8) == NULL && granule_heap_realloc(none, NULL, 8) == NULL);
    CHECK(granule_heap_aligned_alloc(none, 8, 8) == NULL);
    granule_heap_free(none, NULL);
    CHECK(granule_heap_destroy(none) == -1 && granule_heap_delete(none) == -1);
    CHECK(granule_heap_reset(none) == -1 && granule_heap_contains(none, &got) == 0);
    CHECK(granule_heap_cap(none) == 0 && granule_pool_fault(none) == 0);
    CHECK(granule_heap_of(NULL) == NULL && granule_heap_of(&got) == NULL);
    void *block = malloc(100);
    CHECK(granule_heap_of(block) == NULL && granule_pool_identify((void *)8) == NULL);
    free(block);
}

CASE(heaps_inside_of_heaps)
{
    granule_heap_t *outer = granule_heap_new_with(64 * MIB, NULL);
    granule_heap_t *inner = granule_heap_new_with(0, outer);
    void *blocks[SIZES_COUNT];
    fill_heap(inner, blocks);
    CHECK_OP(granule_heap_contains(outer, blocks[3]), ==, 1);
    errno = 0;
    CHECK(granule_heap_destroy(outer) == -1 && errno == EBUSY);
    CHECK(granule_heap_reset(outer) == -1);
    CHECK_OP(granule_heap_destroy(inner), ==, 0);
    CHECK_OP(live(outer), ==, 0);
    CHECK_OP(granule_heap_destroy(outer), ==, 0);
}

static granule_heap_t *shared;

static void *use_shared(void *argument)
{
    void *blocks[SIZES_COUNT];
    for (int round = 0; round < 300; round++) {
        fill_heap(shared, blocks);
        for (int i = 0; i < SIZES_COUNT; i++)
            if (round % 2)
                granule_heap_free(shared, blocks[i]);
            else
                free(blocks[i]);
    }
    return argument;
}

CASE(threads_share_a_heap)
{
    pthread_t threads[4];
    shared = granule_heap_new();
    for (int i = 0; i < 4; i++)
        CHECK_OP(pthread_create(&threads[i], NULL, use_shared, NULL), ==, 0);
    for (int i = 0; i < 4; i++)
        CHECK_OP(pthread_join(threads[i], NULL), ==, 0);
    CHECK_OP(live(shared), ==, 0);
    CHECK_OP(granule_heap_delete(shared), ==, 0);
}

/* Raw memory, as good or bad as it is told to be. */
static struct {
    enum { HONEST, MISALIGNED, TOO_LITTLE, ODD, NOTHING } lie;
    int out;
} raw;

static void *raw_alloc(void *context, size_t *bytes)
{
    char *memory;
    CHECK(context == &raw);
    if (raw.lie == NOTHING)
        return NULL;
    memory = (char *)aligned_alloc(65536, *bytes + 65536);
    CHECK(memory != NULL);
    raw.out++;
    if (raw.lie == TOO_LITTLE)
        *bytes -= 65536;
    if (raw.lie == ODD)
        *bytes += 8;
    return raw.lie == MISALIGNED ? memory + 64 : memory;
}

static int raw_free(void *context, void *start, size_t bytes)
{
    CHECK(context == &raw && bytes > 0);
    raw.out--;
    free((void *)((uintptr_t)start & ~(uintptr_t)65535));
    return 0;
}

/* Whether there is no pool, which `*pool` says whatever it was before. */
static int refuses(const struct granule_pool_policy *policy)
{
    granule_pool_t *pool = (granule_pool_t *)&pool;
    return granule_pool_create(policy, &pool) == EINVAL && pool == NULL;
}

static int refuses_buffer(void *buffer, size_t bytes)
{
    granule_pool_t *pool = (granule_pool_t *)&pool;
    return granule_pool_create_fixed(buffer, bytes, &pool) == EINVAL && pool == NULL;
}

CASE(a_pool_grows_and_refuses_what_it_cannot_use)
{
    struct granule_pool_policy policy = {raw_alloc, raw_free, &raw, 65536, 0};
    granule_pool_t *pool;
    void *blocks[SIZES_COUNT];
    CHECK_OP(granule_pool_create(&policy, &pool), ==, 0);
    fill_heap(pool, blocks);
    CHECK(granule_pool_identify(blocks[2]) == pool && raw.out > 1);
    CHECK_OP(granule_pool_reset(pool), ==, 0);
    CHECK_OP(raw.out, ==, 0);
    for (raw.lie = MISALIGNED; raw.lie <= ODD; raw.lie++) {
        granule_pool_t *none = pool;
        int out = raw.out;
        CHECK(granule_pool_create(&policy, &none) == EINVAL && none == NULL);
        CHECK(granule_heap_malloc(pool, 3 * MIB) == NULL && raw.out == out);
        CHECK_OP(granule_pool_fault(pool), ==, raw.lie);
    }
    raw.lie = NOTHING;
    granule_pool_t *none = pool;
    CHECK(granule_pool_create(&policy, &none) == ENOMEM && none == NULL);
    raw.lie = HONEST;
    fill_heap(pool, blocks);
    CHECK_OP(granule_pool_destroy(pool), ==, 0);
    CHECK_OP(raw.out, ==, 0);
    policy.granularity = 100;
    CHECK(refuses(&policy));
    policy.granularity = 0;
    policy.cap = 100;
    CHECK(refuses(&policy));
    policy.alloc = NULL;
    CHECK(refuses(&policy));
    CHECK(refuses(HIDE((struct granule_pool_policy *)NULL)));
    CHECK_OP(granule_pool_create(&policy, HIDE((granule_pool_t **)NULL)), ==, EINVAL);
}

CASE(a_fixed_pool_lives_on_its_buffer)
{
    static char buffer[1 << 20];
    granule_pool_t *pool;
    size_t first = 0;
    CHECK(refuses_buffer(buffer, 5000));
    CHECK(refuses_buffer(HIDE((void *)NULL), 5000));
    CHECK_OP(granule_pool_create_fixed(buffer, sizeof buffer, HIDE((granule_pool_t **)NULL)), ==,
             EINVAL);
    void *small = malloc(30000);
    CHECK(refuses_buffer(small, 30000));
    free(small);
    CHECK_OP(granule_pool_create_fixed(buffer, sizeof buffer, &pool), ==, 0);
    for (int round = 0; round < 3; round++) {
        size_t count = 0;
        char *block;
        while ((block = (char *)granule_heap_malloc(pool, 1000))) {
            CHECK(block >= buffer && block + 1000 <= buffer + sizeof buffer);
            CHECK(granule_pool_identify(block) == pool);
            count++;
        }
        CHECK(count > 800 && (round == 0 || count == first));
        first = count;
        CHECK_OP(granule_pool_reset(pool), ==, 0);
    }
    CHECK_OP(granule_pool_destroy(pool), ==, 0);
    memset(buffer, 1, sizeof buffer);
}
