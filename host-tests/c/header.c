/* granule.h by itself, in every standard of C and C++: it has to be complete,
 * free of warnings, and agree with the system's headers in either order. */
#ifdef SYSTEM_HEADERS_FIRST
#include <malloc.h>
#include <stdlib.h>
#endif
#include <granule.h>
#ifndef SYSTEM_HEADERS_FIRST
#include <malloc.h>
#include <stdlib.h>
#endif
#include <granule.h>

int main(void)
{
    struct granule_stats stats;
    void *block = memalign(64, 100);

    if (malloc_usable_size(block) < 100 || granule_version()[0] == '\0')
        return 1;
    free_sized(malloc(100), 100);
    free_aligned_sized(block, 64, 100);
    free(reallocarray(pvalloc(1), 10, 10));
    free(valloc(1));
    if (granule_get_stats(&stats) != 0 || stats.mapped < stats.committed)
        return 2;
    return (unsigned)malloc_trim(0) <= 1 ? 0 : 3;
}
