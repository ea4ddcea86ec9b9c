/* A program that runs with more rights than who started it, and wrote its
 * environment. GRANULE_RESERVE asks for 64 MiB, touched. */
#include "check.h"

#include <sys/auxv.h>

/* Without a call of malloc the library is not linked. */
static void *volatile block;
__attribute__((constructor)) static void allocate(void) { block = malloc(1); }

CASE(it_has_more_rights) { CHECK_OP(getauxval(AT_SECURE), !=, 0); }
CASE(the_environment_is_obeyed) { CHECK_OP(resident(), >=, 64 * MIB); }
CASE(the_environment_is_ignored) { CHECK_OP(resident(), <=, 16 * MIB); }
