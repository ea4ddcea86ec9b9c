/* granule.dll: alignment, sized frees, statistics, threads, errors, life. */
#include "blocks.h"

#define MARK 77 /* an errno no allocator sets */

CASE(aligned_blocks_are_aligned_and_apart)
{
    for (size_t align = 1; align <= 4 * MIB; align *= 2) {
        void *blocks[3];
        for (int i = 0; i < 3; i++) {
            blocks[i] = aligned_alloc(align, 100 + align / 2);
            CHECK(blocks[i] != NULL);
            CHECK_OP((uintptr_t)blocks[i] % align, ==, 0);
            CHECK_OP(malloc_usable_size(blocks[i]), >=, 100 + align / 2);
            fill(blocks[i], 0, 100 + align / 2, align + i);
        }
        for (int i = 0; i < 3; i++) {
            verify(blocks[i], 100 + align / 2, align + i);
            if (i == 1)
                free(blocks[i]);
            else
                free_aligned_sized(blocks[i], align, 100 + align / 2);
        }
    }
}

CASE(bad_alignments_are_einval)
{
    size_t bad[] = {0, 3, 24, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        CHECK(aligned_alloc(HIDE(bad[i]), 64) == NULL);
        CHECK_OP(errno, ==, EINVAL);
    }
    errno = 0;
    CHECK(aligned_alloc(64, HIDE((size_t)SIZE_MAX - 100)) == NULL);
    CHECK_OP(errno, ==, ENOMEM);
}

CASE(sized_frees_give_back)
{
    struct granule_stats before, after;
    CHECK_OP(granule_get_stats(&before), ==, 0);
    FOR_SIZES(size, 1, 4 * MIB) {
        void *block = malloc(size);
        CHECK(block != NULL);
        free_sized(block, size);
    }
    free_sized(NULL, 8);
    free_aligned_sized(NULL, 8, 8);
    CHECK_OP(granule_get_stats(&after), ==, 0);
    CHECK_OP(after.live_bytes, ==, before.live_bytes);
}

CASE(statistics_add_up)
{
    struct granule_stats now;
    unsigned major, minor, patch;
    void *block = malloc(3 * MIB);

    CHECK_OP(sscanf(granule_version(), "%u.%u.%u", &major, &minor, &patch), ==, 3);
    CHECK_OP(granule_get_stats(&now), ==, 0);
    CHECK_OP(now.live_bytes, >=, 3 * MIB);
    CHECK_OP(now.large_bytes, >=, 3 * MIB);
    CHECK_OP(now.live_bytes + now.cached_bytes + now.free_bytes, <=, now.committed);
    CHECK_OP(now.committed, <=, now.mapped);
    free(block);
    errno = 0;
    CHECK_OP(granule_get_stats(HIDE((struct granule_stats *)NULL)), ==, -1);
    CHECK_OP(errno, ==, EINVAL);
}

CASE(trim_gives_memory_back)
{
    size_t size = 64 * MIB;
    char *block = malloc(size);
    CHECK(block != NULL);
    memset(HIDE(block), 1, size);
    size_t full = resident();
    free(block);
    CHECK_OP(granule_trim(0), ==, 1);
    CHECK_OP(resident() + size / 2, <, full);
    block = calloc(1, size);
    verify_zero(block, size);
    free(block);
}

CASE(success_keeps_errno_and_the_last_error)
{
    errno = MARK;
    SetLastError(MARK);
    FOR_SIZES(size, 1, 16 * MIB) {
        void *block = realloc(malloc(size), size + 1000);
        free(block);
        free(calloc(1, size));
    }
    granule_trim(0);
    CHECK_OP(errno, ==, MARK);
    CHECK_OP(GetLastError(), ==, MARK);
}

static void *handed_over[64];

static DWORD WINAPI churn_and_end(void *argument)
{
    struct block blocks[32] = {{NULL, 0, 0}};
    size_t number = (size_t)argument;
    uint64_t rng = number * 2 + 1;

    churn(blocks, 32, 2000, 20 * KIB, &rng);
    blocks_free(blocks, 32);
    /* Freed by the next of this number, or at the end. */
    void *mine = malloc(100 + number);
    fill(mine, 0, 100 + number, number);
    void **box = &handed_over[number % 64];
    void *old = __atomic_exchange_n(box, mine, __ATOMIC_ACQ_REL);
    free(old);
    return 0;
}

CASE(threads_end_and_leave_their_caches)
{
    struct granule_stats before, after;
    free(malloc(100)); /* this thread has a cache of its own */
    CHECK_OP(granule_get_stats(&before), ==, 0);
    for (size_t round = 0; round < 40 * scale(); round++) {
        HANDLE threads[16];
        for (size_t i = 0; i < 16; i++) {
            threads[i] = CreateThread(NULL, 0, churn_and_end, (void *)(round * 16 + i), 0, NULL);
            CHECK(threads[i] != NULL);
        }
        CHECK_OP(WaitForMultipleObjects(16, threads, TRUE, 60000), <, 16);
        for (size_t i = 0; i < 16; i++)
            CloseHandle(threads[i]);
    }
    for (size_t i = 0; i < 64; i++)
        free(handed_over[i]);
    CHECK_OP(granule_get_stats(&after), ==, 0);
    CHECK_OP(after.threads, ==, before.threads);
    CHECK_OP(after.live_bytes, ==, before.live_bytes);
}

CASE(the_library_stays_loaded)
{
    HMODULE library = LoadLibraryA("granule.dll");
    void *block = malloc(100);
    fill(block, 0, 100, 1);
    for (int i = 0; i < 10; i++)
        FreeLibrary(library);
    verify(block, 100, 1);
    free(HIDE(block));
    CHECK(GetModuleHandleA("granule.dll") == library);
}

CASE(blocks_of_the_c_library_stay_its_own)
{
    /* Nothing is replaced: both serve side by side. */
    void *theirs = _aligned_malloc(100, 64);
    char *text = _strdup("a string");
    void *ours = malloc(100);
    CHECK(theirs != NULL && text != NULL && ours != NULL);
    CHECK(strcmp(text, "a string") == 0);
    _aligned_free(theirs);
    free(ours);
    (free)(NULL);
#undef free
    free(text);
}
