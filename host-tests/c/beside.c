/* A program linked with the neighbour: both allocate before main. */
#include "blocks.h"

void *neighbour_gives(size_t size);
void neighbour_takes(void *block);

static void *from_constructor;

__attribute__((constructor)) static void before_main(void)
{
    from_constructor = neighbour_gives(5000);
}

CASE(blocks_change_hands)
{
    verify(from_constructor, 5000, 47);
    free(from_constructor);
    for (int i = 0; i < 1000; i++) {
        void *block = malloc(1000);
        fill(block, 0, 1000, 43);
        neighbour_takes(block);
        block = realloc(neighbour_gives(300), 40000);
        verify(block, 300, 47);
        free(block);
    }
}
