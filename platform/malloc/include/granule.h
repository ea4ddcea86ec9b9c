/* granule.h: the C and C++ interface of libgranule.
 *
 * The library replaces malloc and its family, and the C++ operators new and
 * delete: preload it, or link with -lgranule, and programs need no header.
 * This one declares what the system's headers may lack, and granule's own
 * functions. It suits C89 and C++98 and later.
 *
 * On Windows nothing is replaced: granule.dll has the family under names of its
 * own. Its blocks are for its own functions alone, not for free. */
#ifndef GRANULE_H
#define GRANULE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The functions below throw nothing. glibc says so in a macro that suits every
 * C and C++ standard, and a redeclaration has to agree with it; other C
 * libraries say nothing, and so does this header. */
#if defined(__GLIBC__) && defined(__THROW)
#define GRANULE_NOTHROW __THROW
#else
#define GRANULE_NOTHROW
#endif

#ifdef _WIN32

/* Each as the function without "granule_" in C23. They set errno in the C
 * library that granule.dll is linked with (msvcrt.dll), which may be another
 * one than the program's. */
void *granule_malloc(size_t size);
void *granule_calloc(size_t count, size_t size);
void *granule_realloc(void *ptr, size_t size);
void *granule_reallocarray(void *ptr, size_t count, size_t size);
void *granule_aligned_alloc(size_t alignment, size_t size);
void granule_free(void *ptr);
void granule_free_sized(void *ptr, size_t size);
void granule_free_aligned_sized(void *ptr, size_t alignment, size_t size);

/* How many bytes of the block may be used: at least those asked for. 0 for
 * null. */
size_t granule_usable_size(void *ptr);

/* Gives idle memory back to the system, down to about `keep` bytes. 1 if
 * anything was given back, otherwise 0. */
int granule_trim(size_t keep);

#else

/* ---- Standard functions that a system's headers may not declare ---- */

/* C23. Frees `ptr`, which malloc, calloc or realloc gave for `size` bytes.
 * Null is allowed. Faster than free, which has to look the size up. Any
 * other size is undefined behaviour. */
void free_sized(void *ptr, size_t size) GRANULE_NOTHROW;

/* C23. Frees `ptr`, which aligned_alloc gave for this alignment and size.
 * Null is allowed. */
void free_aligned_sized(void *ptr, size_t alignment, size_t size) GRANULE_NOTHROW;

/* POSIX 2024. Resizes to `count * size` bytes; on overflow null and ENOMEM,
 * with the old block intact. */
void *reallocarray(void *ptr, size_t count, size_t size) GRANULE_NOTHROW;

/* How many bytes of the block may be used: at least those asked for. 0 for
 * null. */
size_t malloc_usable_size(void *ptr) GRANULE_NOTHROW;

/* Like aligned_alloc. Null and EINVAL if the alignment is no power of two. */
void *memalign(size_t alignment, size_t size) GRANULE_NOTHROW;

/* `size` bytes, rounded up to whole pages, on a page boundary. */
void *pvalloc(size_t size) GRANULE_NOTHROW;

/* Gives idle memory back to the system, down to about `keep` bytes. 1 if
 * anything was given back, otherwise 0. */
int malloc_trim(size_t keep) GRANULE_NOTHROW;

#endif

/* ---- granule's own ---- */

/* The library's version, "major.minor.patch"; a constant string. */
const char *granule_version(void) GRANULE_NOTHROW;

/* Where the memory is. Bytes unless said otherwise.
 *
 *     live_bytes + cached_bytes + free_bytes <= committed <= mapped
 *
 * holds while no other thread allocates or frees; the difference is the
 * allocator's own bookkeeping. While others do, each field is a value of
 * about now, and they need not add up. */
struct granule_stats {
    /* Address space obtained from the system. */
    uint64_t mapped;
    /* The part of it that is readable and writable and may be resident. */
    uint64_t committed;
    /* In blocks the program holds, at their usable size. */
    uint64_t live_bytes;
    /* In freed blocks kept ready in the caches. */
    uint64_t cached_bytes;
    /* Committed and free in slabs and in runs of pages. */
    uint64_t free_bytes;
    /* The part of `live_bytes` in blocks too large for a size class. */
    uint64_t large_bytes;
    /* Number of slabs: runs of pages cut into blocks of one size. */
    uint64_t slabs;
    /* Number of regions: pieces of address space runs are cut from. */
    uint64_t regions;
    /* Number of threads with a cache of their own, or of CPUs with one. */
    uint64_t threads;
};

/* Fills `*out`. 0 on success; -1, with errno EINVAL, if `out` is null.
 * Allocates nothing, so that any thread may call it at any time, but not a
 * signal handler: it takes the allocator's locks. */
int granule_get_stats(struct granule_stats *out) GRANULE_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif
