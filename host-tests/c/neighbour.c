/* A shared library that allocates on its own account: when it is loaded,
 * while it is used, and when it is unloaded. */
#include "blocks.h"

static struct block own[200];
static void *adopted;
static uint64_t rng = 41;

__attribute__((constructor)) static void loaded(void) { churn(own, 200, 2000, 64 * KIB, &rng); }

__attribute__((destructor)) static void unloaded(void)
{
    static const char message[] = "neighbour unloaded\n";

    churn(own, 200, 1000, 64 * KIB, &rng);
    blocks_free(own, 200);
    if (adopted)
        verify(adopted, 1000, 43);
    free(adopted);
    if (write(1, message, sizeof message - 1) < 0)
        _exit(3);
}

/* Hands out a block the caller frees. */
__attribute__((visibility("default"))) void *neighbour_gives(size_t size)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    fill(block, 0, size, 47);
    return block;
}

/* Takes a block of 1,000 bytes and frees it when the library goes. */
__attribute__((visibility("default"))) void neighbour_takes(void *block)
{
    free(adopted);
    adopted = block;
}
