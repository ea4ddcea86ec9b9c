/* A process whose kernel tells it next to nothing when it starts: the program has a
 * getauxval of its own in place of the C library's, and by -DSECURE=1 it runs with
 * more rights than who started it. */
#include "blocks.h"

#include <sys/auxv.h>

#ifndef SECURE
#define SECURE 0
#endif

static int asked;

unsigned long getauxval(unsigned long type)
{
    asked++;
    errno = ENOENT;
    switch (type) {
    case AT_PAGESZ:
        return (unsigned long)getpagesize();
    case AT_SECURE:
        return SECURE;
    default:
        return 0;
    }
}

CASE(errno_is_zero_at_main)
{
    CHECK_OP(errno, ==, 0);
    CHECK_OP(asked, >, 0);
}

CASE(errno_is_kept)
{
    /* Small ones, and some that memory is reserved for. */
    for (size_t size = 1; size <= 512 * MIB; size *= 3) {
        errno = 12345;
        char *block = (char *)malloc(size);
        CHECK(block != NULL && errno == 12345);
        block[size / 2] = 1;
        block = (char *)realloc(block, 2 * size);
        CHECK(block != NULL && errno == 12345);
        free(block);
        CHECK_OP(errno, ==, 12345);
    }
    CHECK_OP(asked, >, 0);
}

/* GRANULE_RESERVE asks for 64 MiB, touched. */
CASE(the_environment_is_obeyed) { CHECK_OP(resident(), >=, 64 * MIB); }
CASE(the_environment_is_ignored)
{
    CHECK_OP(resident(), <=, 16 * MIB);
    CHECK_OP(asked, >, 0);
}
