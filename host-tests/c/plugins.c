/* dlopen and dlclose of a library that allocates. Its path is PLUGIN. */
#include "threads.h"

#include <dlfcn.h>

static const char *plugin(void)
{
    const char *path = getenv("PLUGIN");
    CHECK(path != NULL);
    return path;
}

static void load_and_unload(void)
{
    void *library = dlopen(plugin(), RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    void *(*gives)(size_t) = (void *(*)(size_t))dlsym(library, "neighbour_gives");
    void (*takes)(void *) = (void (*)(void *))dlsym(library, "neighbour_takes");
    CHECK(gives != NULL && takes != NULL);
    void *mine = malloc(1000), *theirs = gives(30000);
    fill(mine, 0, 1000, 43);
    takes(mine);
    CHECK_OP(dlclose(library), ==, 0);
    verify(theirs, 30000, 47); /* outlives the library */
    free(theirs);
}

CASE(a_plugin_comes_and_goes)
{
    size_t early = 0;
    for (int i = 0; i < 200; i++) {
        load_and_unload();
        if (i == 20)
            early = resident();
    }
    CHECK_OP(resident(), <=, steady_bound(early));
}

static void *allocate(void *argument)
{
    struct block blocks[100] = {{NULL, 0, 0}};
    uint64_t rng = (uintptr_t)argument * 2 + 1;
    for (int i = 0; i < 300; i++)
        churn(blocks, 100, 500, 8 * KIB, &rng);
    blocks_free(blocks, 100);
    return NULL;
}

CASE(a_plugin_comes_and_goes_while_threads_allocate)
{
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        threads[i] = start(allocate, (void *)i);
    for (int i = 0; i < 50; i++)
        load_and_unload();
    for (size_t i = 0; i < 3; i++)
        join(threads[i]);
}

CASE(errors_of_dlopen_are_reported)
{
    for (int i = 0; i < 200; i++) {
        CHECK(dlopen("/nonexistent/library.so", RTLD_NOW) == NULL);
        CHECK(strstr(dlerror(), "nonexistent") != NULL);
    }
}
