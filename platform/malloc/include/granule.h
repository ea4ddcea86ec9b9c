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

/* Gives idle memory back to the system, all of it: `keep` has no effect. 1 if
 * anything was given back, otherwise 0. */
int granule_trim(size_t keep);

#else

/* ---- Standard functions that a system's headers may not declare ---- */

/* C23. Frees `ptr`, which malloc, calloc or realloc gave for `size` bytes.
 * Null is allowed. Any other size is undefined behaviour. */
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

/* Gives idle memory back to the system, all of it: `keep` has no effect. 1 if
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

/* Walks all of the heap that malloc serves from, what it caches included, and
 * verifies that its records agree: for tests, and for who suspects a wild
 * write. 0 if they do; otherwise -1, and which rule is broken, and where, is
 * written to `text`, cut off to `size` bytes with the zero at its end (null and
 * 0 are allowed). Meanwhile no other thread may use the heap, or what it does
 * is taken for a fault. Allocates nothing. Takes time in proportion to the heap. */
int granule_check(char *text, size_t size) GRANULE_NOTHROW;

#ifndef _WIN32

/* ---- Heaps besides the process's (after mimalloc's) ----
 *
 * A heap ends with all of its blocks at once, in time that depends on the pages
 * it has and not on its blocks. Any number of threads may use a heap, or different
 * ones, at the same time, but delete, destroy and reset want the heap for
 * themselves: no other call on it may be under way, nor come later on its
 * handle or blocks. A later call with the handle ends the process with a report
 * (as long as no thousand heaps have been destroyed since).
 *
 * free, realloc and malloc_usable_size take blocks of heaps, too, and find the
 * heap by themselves; granule_heap_free is faster.
 *
 * A handle that is null: null, 0 or -1, and errno EINVAL. */
typedef struct granule_heap granule_heap_t;

/* A heap on memory of the process's heap: best where it is small, or soon ends.
 * Null and ENOMEM. */
granule_heap_t *granule_heap_new(void) GRANULE_NOTHROW;

/* A heap on memory of the system's, or of `inside` if that is not null, which
 * never has more than `cap` bytes, its own records included; 0 means no cap.
 * Null and ENOMEM; null and EINVAL for a cap below 16 pages, 65,536 bytes where
 * pages have 4 KiB. Where the cap is reached allocations return null. */
granule_heap_t *granule_heap_new_with(size_t cap, granule_heap_t *inside) GRANULE_NOTHROW;

/* Ends a heap without live blocks: 0. Else nothing happens: -1 and EBUSY. */
int granule_heap_delete(granule_heap_t *heap) GRANULE_NOTHROW;

/* Ends a heap and all of its blocks: 0. -1 and EBUSY, and nothing happens, while
 * there are heaps inside of it. -1 and ENOMEM if the system refused to take some
 * memory back; the heap has ended all the same. */
int granule_heap_destroy(granule_heap_t *heap) GRANULE_NOTHROW;

/* Ends all blocks of a heap, which is as new: 0. -1 and EBUSY as above; -1 and
 * ENOMEM as above, and what was refused is asked for again later. */
int granule_heap_reset(granule_heap_t *heap) GRANULE_NOTHROW;

/* As the functions without "granule_heap_", of the heap. */
void *granule_heap_malloc(granule_heap_t *heap, size_t size) GRANULE_NOTHROW;
void *granule_heap_calloc(granule_heap_t *heap, size_t count, size_t size) GRANULE_NOTHROW;
void *granule_heap_realloc(granule_heap_t *heap, void *ptr, size_t size) GRANULE_NOTHROW;
void *granule_heap_aligned_alloc(granule_heap_t *heap, size_t alignment,
                                 size_t size) GRANULE_NOTHROW;
void granule_heap_free(granule_heap_t *heap, void *ptr) GRANULE_NOTHROW;

/* As granule_heap_free, of a block that granule_heap_malloc or granule_heap_calloc
 * gave for `size` bytes, or granule_heap_aligned_alloc for this alignment and size,
 * and that realloc has not touched. Any other size is undefined behaviour. The first
 * looks nothing up for up to 1,024 bytes. */
void granule_heap_free_sized(granule_heap_t *heap, void *ptr, size_t size) GRANULE_NOTHROW;
void granule_heap_free_aligned_sized(granule_heap_t *heap, void *ptr, size_t alignment,
                                     size_t size) GRANULE_NOTHROW;

/* The innermost heap or pool whose memory `ptr` points into, which may be any
 * pointer; null if there is none, as for blocks of malloc. */
granule_heap_t *granule_heap_of(const void *ptr) GRANULE_NOTHROW;

/* 1 if `ptr`, any pointer, points into memory of the heap, otherwise 0. */
int granule_heap_contains(granule_heap_t *heap, const void *ptr) GRANULE_NOTHROW;

/* The cap in bytes; 0 if there is none. */
size_t granule_heap_cap(granule_heap_t *heap) GRANULE_NOTHROW;

/* As granule_get_stats, of the heap. */
int granule_heap_get_stats(granule_heap_t *heap, struct granule_stats *out) GRANULE_NOTHROW;

/* ---- Memory pools (after rml::pool_create of oneTBB's allocator) ----
 *
 * A pool is a heap on memory of the program's: all functions above work on it. */
typedef granule_heap_t granule_pool_t;

/* Where the memory of a pool that grows comes from. Both functions may be called
 * by any thread that uses the pool, one call at a time. They may use malloc, heaps,
 * and pools with a buffer; pools with a policy, and heaps inside of these, only if
 * those were made before this pool: two that wait for each other wait for ever. They
 * must not use the pool itself, nor make or end heaps or pools. */
struct granule_pool_policy {
    /* Returns at least `*bytes`, a multiple of the granularity, and may raise
     * `*bytes` to another one; null if there is no more. What is misaligned, too
     * little, or of a length that is not whole is given back and counts as null;
     * granule_pool_fault says which. */
    void *(*alloc)(void *context, size_t *bytes);
    /* Takes back what alloc returned, with the bytes it said; not 0 if it cannot.
     * Null if nothing is ever taken back: a pool that is reset keeps its memory and
     * uses it again, and one that is destroyed leaves it to the program. */
    int (*free)(void *context, void *start, size_t bytes);
    /* Passed to both. */
    void *context;
    /* What addresses and lengths are multiples of: a power of two, at least 4096;
     * 0 means 4096. */
    size_t granularity;
    /* As of granule_heap_new_with. */
    size_t cap;
};

/* Makes a pool that grows and takes its first memory: 0. EINVAL for a null
 * pointer, a granularity or cap that cannot be, or first memory that cannot be
 * used; ENOMEM. `*pool` is null then. */
int granule_pool_create(const struct granule_pool_policy *policy,
                        granule_pool_t **pool) GRANULE_NOTHROW;

/* Makes a pool that has `buffer` and nothing else, until it is destroyed: 0.
 * EINVAL for a null pointer, or if the buffer is too small for records (1.7 %)
 * and a page of 4 KiB, or part of a block of malloc of up to 32 KiB; ENOMEM. `*pool`
 * is null then. */
int granule_pool_create_fixed(void *buffer, size_t bytes,
                              granule_pool_t **pool) GRANULE_NOTHROW;

/* As granule_heap_of. */
granule_pool_t *granule_pool_identify(const void *ptr) GRANULE_NOTHROW;

/* As granule_heap_reset and granule_heap_destroy. */
int granule_pool_reset(granule_pool_t *pool) GRANULE_NOTHROW;
int granule_pool_destroy(granule_pool_t *pool) GRANULE_NOTHROW;

/* What was last wrong with memory of the policy's: 0 nothing, 1 misaligned, 2 too
 * little, 3 a length that is not whole. */
int granule_pool_fault(granule_pool_t *pool) GRANULE_NOTHROW;

#endif

#ifdef __cplusplus
}
#endif

#endif
