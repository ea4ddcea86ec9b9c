/* What is resident in a program that allocates little. */
#include "check.h"

/* KiB, summed over mappings: of `path` with its name in it (all where null), what
 * `field` of the kernel's list says. Reads byte by byte into little memory. */
static size_t summed(const char *path, const char *field)
{
    static char buffer[2048], line[256];
    int list = open("/proc/self/smaps", O_RDONLY), counts = 0;
    size_t len = 0, sum = 0;
    ssize_t got;

    CHECK(list >= 0);
    while ((got = read(list, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (buffer[i] != '\n') {
                if (len < sizeof line - 1)
                    line[len++] = buffer[i];
                continue;
            }
            line[len] = 0;
            len = 0;
            if (line[0] < 'A' || line[0] > 'Z')
                counts = !path || strstr(line, path) != NULL;
            else if (counts && !strncmp(line, field, strlen(field)))
                sum += strtoul(line + strlen(field), NULL, 10);
        }
    }
    close(list);
    return sum;
}

/* Two hundred blocks of ten sizes, half of them freed. */
static void allocate_little(void)
{
    static void *blocks[200];
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = malloc(16 + i % 10 * 40);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 16);
    }
    for (size_t i = 0; i < 200; i += 2)
        free(blocks[i]);
    free(realloc(blocks[1], 3000));
    free(calloc(10, 100));
}

/* Pages of the library that are resident because some are touched: 124 KiB as Rust's
 * linker lays it out. Is one of those called that few call, it is 16 more; one of the
 * rare ones, 64. */
CASE(library_itself)
{
    allocate_little();
    size_t kib = summed("libgranule", "Rss:");
    printf("%zu KiB of the library\n", kib);
    CHECK_OP(kib, >, 0);
    CHECK_OP(kib, <=, 160);
}

/* All that is written to, of the program and its libraries, blocks included. */
CASE(private_memory)
{
    allocate_little();
    size_t kib = summed(NULL, "Anonymous:");
    printf("%zu KiB of private memory\n", kib);
    CHECK_OP(kib, <=, 256);
}
