/* A heap is used after its end: prints the handle, and has to end with a report. */
#include "check.h"

#include "granule.h"

static granule_heap_t *ended(void)
{
    granule_heap_t *heap = granule_heap_new();
    CHECK(heap != NULL && granule_heap_malloc(heap, 100) != NULL);
    CHECK_OP(granule_heap_destroy(heap), ==, 0);
    printf("%p\n", (void *)heap);
    fflush(stdout);
    return heap;
}

CASE(use_malloc) { granule_heap_malloc(ended(), 8); }
CASE(use_free) { granule_heap_free(ended(), HIDE((void *)&check_cases)); }
CASE(use_destroy) { granule_heap_destroy(ended()); }

CASE(use_stats)
{
    struct granule_stats out;
    granule_heap_get_stats(ended(), &out);
}

/* Others have come and gone since. */
CASE(use_later)
{
    granule_heap_t *heap = ended();
    for (int i = 0; i < 900; i++)
        CHECK_OP(granule_heap_destroy(granule_heap_new()), ==, 0);
    granule_heap_calloc(heap, 1, 8);
}
