/* The library loaded and closed by a program that has another allocator. */
#include "check.h"

#include <dlfcn.h>
#include <sched.h>

/* A plugin that brings an allocator of its own along stays when it is closed:
 * a thread's area may still name one of its sequences. */
CASE(a_library_that_is_closed_stays)
{
    const char *path = getenv("GRANULE_TEST_LIBRARY");
    for (int i = 0; i < 3; i++) {
        void *(*allocate)(size_t);
        void (*release)(void *);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        CHECK(path != NULL && library != NULL);
        *(void **)&allocate = dlsym(library, "malloc");
        *(void **)&release = dlsym(library, "free");
        CHECK(allocate != NULL && release != NULL);
        for (int k = 0; k < 1000; k++)
            release(allocate(100));
        CHECK_OP(dlclose(library), ==, 0);
        for (int k = 0; k < 100; k++)
            sched_yield();
        usleep(1000);
        library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
        CHECK(library != NULL);
        dlclose(library);
    }
}
