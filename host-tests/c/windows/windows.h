/* windows.h: what check.h and the programs need on Windows, and granule's
 * functions under the names that the programs call.
 *
 * Found before the system's header of that name, which it includes. */
#ifndef CHECK_WINDOWS_H
#define CHECK_WINDOWS_H

#include_next <windows.h>

#include <malloc.h>
#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>

#include "granule.h"

#define malloc granule_malloc
#define calloc granule_calloc
#define realloc granule_realloc
#define reallocarray granule_reallocarray
#define free granule_free
#define aligned_alloc granule_aligned_alloc
#define free_sized granule_free_sized
#define free_aligned_sized granule_free_aligned_sized
#define malloc_usable_size granule_usable_size

#define dprintf(stream, ...) (fprintf(stderr, __VA_ARGS__), fflush(stderr))

static inline size_t resident(void)
{
    PROCESS_MEMORY_COUNTERS now = {0};

    now.cb = sizeof now;
    if (!GetProcessMemoryInfo(GetCurrentProcess(), &now, sizeof now))
        exit(1);
    return now.WorkingSetSize;
}

#endif
