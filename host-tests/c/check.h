/* check.h: cases and checks, for C and C++, without allocating.
 *
 *     CASE(name) { CHECK(condition); }
 *
 * A program lists its cases with --list and runs the one it is given. A
 * failed check ends the process at once, from any thread. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef _WIN32
#include "windows.h"
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check_case {
    const char *name;
    void (*run)(void);
    struct check_case *next;
};

static struct check_case *check_cases;

/* Defines a case; a constructor puts it on the list. */
#define CASE(name)                                                        \
    static void name(void);                                               \
    static struct check_case name##_case = {#name, name, NULL};           \
    __attribute__((constructor)) static void name##_register(void)        \
    {                                                                     \
        name##_case.next = check_cases;                                   \
        check_cases = &name##_case;                                       \
    }                                                                     \
    static void name(void)

/* Ends the process with a message if the condition is false. */
#define CHECK(condition)                                                  \
    do {                                                                  \
        int check_errno = errno;                                          \
        if (!(condition)) {                                               \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__,      \
                    #condition, check_errno);                             \
            _exit(1);                                                     \
        }                                                                 \
    } while (0)

/* The same for `a OP b`, with both values in the message. */
#define CHECK_OP(a, op, b)                                                \
    do {                                                                  \
        unsigned long long check_a = (unsigned long long)(a);             \
        unsigned long long check_b = (unsigned long long)(b);             \
        if (!(check_a op check_b)) {                                      \
            dprintf(2, "%s:%d: %s %s %s: %#llx and %#llx\n", __FILE__,    \
                    __LINE__, #a, #op, #b, check_a, check_b);             \
            _exit(1);                                                     \
        }                                                                 \
    } while (0)

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* The value, with all the compiler knows about it forgotten. */
#define HIDE(value)                                                       \
    __extension__({                                                       \
        __typeof__(value) hidden = (value);                               \
        __asm__ volatile("" : "+r"(hidden));                              \
        hidden;                                                           \
    })

/* The load of the heavier cases, from GRANULE_TEST_SCALE. */
static inline unsigned long scale(void)
{
    const char *text = getenv("GRANULE_TEST_SCALE");
    unsigned long value = text ? strtoul(text, NULL, 10) : 1;
    return value ? value : 1;
}

#ifndef _WIN32
/* Field `index` of /proc/self/statm in bytes: 0 address space, 1 resident. */
static inline size_t memory_now(int index)
{
    char text[128] = {0};
    char *at = text;
    unsigned long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY);

    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    for (int field = 0; field <= index; field++)
        pages = strtoul(at, &at, 10);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static inline size_t address_space(void) { return memory_now(0); }
static inline size_t resident(void) { return memory_now(1); }

/* The most a steady load may come to that took `early` bytes once. Caches fill
 * as chance has it, on every CPU that a thread happens to run on: what they may
 * hold is no leak, so loads send many times this through the allocator. */
static inline size_t steady_bound(size_t early)
{
    size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    return early + early / 4 + (2 + 2 * cpus) * MIB;
}
#endif

int main(int argc, char **argv)
{
    struct check_case *each;

    for (each = check_cases; each; each = each->next) {
        if (argc > 1 && strcmp(argv[1], "--list") == 0) {
            puts(each->name);
        } else if (argc > 1 && strcmp(argv[1], each->name) == 0) {
            each->run();
            return 0;
        }
    }
    return argc > 1 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}

#endif
