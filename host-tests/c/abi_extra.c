/* The rest of the C interface: C23's sized frees, glibc's malloc.h, and the
 * functions of the C library that hand out memory to be freed. */
#include "blocks.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <sys/stat.h>

#include "granule.h"

extern void cfree(void *);

/* Weak: a program to be preloaded is linked without the library. */
#pragma weak free_sized
#pragma weak free_aligned_sized
#pragma weak cfree

CASE(free_sized_frees_what_malloc_gave)
{
    size_t before = 0;
    for (int round = 0; round < 200; round++) {
        FOR_SIZES(size, 1, 256 * KIB) {
            void *block = round % 2 ? malloc(size) : calloc(1, size);
            CHECK(block != NULL);
            memset(block, 1, size);
            errno = 77;
            free_sized(block, size);
            CHECK_OP(errno, ==, 77);
        }
        if (round == 20)
            before = resident();
    }
    free_sized(realloc(malloc(10), 5000), 5000);
    free_sized(NULL, 10);
    free_sized(NULL, 0);
    free_sized(malloc(0), 0);
    CHECK_OP(resident(), <, before + 32 * MIB);
}

CASE(free_aligned_sized_frees_what_aligned_alloc_gave)
{
    size_t before = 0;
    for (int round = 0; round < 50; round++) {
        for (size_t align = 8; align <= MIB; align *= 2) {
            void *block = aligned_alloc(align, 3 * align);
            memset(block, 1, align);
            free_aligned_sized(block, align, 3 * align);
            free_aligned_sized(aligned_alloc(align, 100), align, 100);
        }
        if (round == 5)
            before = resident();
    }
    free_aligned_sized(NULL, 64, 64);
    CHECK_OP(resident(), <, before + 32 * MIB);
}

CASE(cfree_frees)
{
    size_t before = resident();
    for (int i = 0; i < 1000; i++) {
        cfree(memset(malloc(200 * KIB), 1, 200 * KIB));
        cfree(malloc(100));
    }
    cfree(NULL);
    CHECK_OP(resident(), <, before + 32 * MIB);
}

CASE(malloc_trim_answers_and_memory_works_on)
{
    void *blocks[1000], *kept = malloc(1000);
    fill(kept, 0, 1000, 9);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 1000; i++)
            memset(blocks[i] = malloc(20000), round, 20000);
        for (int i = 0; i < 1000; i++)
            free(blocks[i]);
        int trimmed = malloc_trim((size_t)round * MIB);
        CHECK(trimmed == 0 || trimmed == 1);
    }
    verify(kept, 1000, 9);
    free(kept);
}

CASE(malloc_trim_gives_memory_back)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i] = malloc(MIB), 1, MIB);
    CHECK_OP(resident(), >, COUNT * MIB);
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    malloc_trim(0);
    CHECK_OP(resident(), <, COUNT / 4 * MIB);
}

CASE(mallinfo_counts_what_is_in_use)
{
    void *blocks[96];
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 96; i++)
        memset(blocks[i] = malloc(i % 2 ? MIB : 1000), 1, 1000);
    struct mallinfo2 during = mallinfo2();
    CHECK_OP(during.uordblks + during.hblkhd, >=, before.uordblks + before.hblkhd + 48 * MIB);
    CHECK_OP(during.arena + during.hblkhd, >=, 48 * MIB);
    for (int i = 0; i < 96; i++)
        free(blocks[i]);
    struct mallinfo2 after = mallinfo2();
    CHECK_OP(after.uordblks + after.hblkhd, <, during.uordblks + during.hblkhd - 40 * MIB);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
CASE(the_old_mallinfo_agrees)
{
    void *block = malloc(32 * MIB);
    CHECK(block != NULL);
    struct mallinfo info = mallinfo();
    CHECK_OP((unsigned)info.uordblks + (unsigned)info.hblkhd, >=, 32 * MIB);
    free(block);
}
#pragma GCC diagnostic pop

CASE(malloc_info_writes_a_document)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL);
    CHECK_OP(malloc_info(0, stream), ==, 0);
    CHECK_OP(fclose(stream), ==, 0);
    CHECK_OP(length, ==, strlen(text));
    CHECK(strncmp(text, "<malloc version=\"", 17) == 0);
    CHECK(strstr(text, "</malloc>") != NULL);
    size_t opened = 0, closed = 0;
    for (size_t i = 0; i < length; i++) {
        opened += text[i] == '<';
        closed += text[i] == '>';
    }
    CHECK_OP(opened, ==, closed);
    free(text);
}

CASE(malloc_info_refuses_unknown_options)
{
    FILE *stream = tmpfile();
    CHECK(stream != NULL);
    /* glibc returns the error; its manual says -1 and errno. */
    errno = 0;
    int result = malloc_info(1, stream);
    CHECK(result == EINVAL || (result == -1 && errno == EINVAL));
    CHECK_OP(ftell(stream), ==, 0);
    fclose(stream);
}

CASE(malloc_stats_writes_to_stderr)
{
    struct stat status;
    FILE *file = tmpfile();
    int saved = dup(2);
    CHECK(file != NULL && saved >= 0 && dup2(fileno(file), 2) == 2);
    malloc_stats();
    CHECK(fflush(stderr) == 0 && dup2(saved, 2) == 2);
    CHECK_OP(fstat(fileno(file), &status), ==, 0);
    CHECK_OP(status.st_size, >, 0);
    fclose(file);
}

CASE(mallopt_is_accepted)
{
    static const int options[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD,
                                  M_MMAP_MAX, M_ARENA_MAX, M_PERTURB};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int accepted = mallopt(options[i], options[i] == M_PERTURB ? 0 : 64);
        CHECK(accepted == 0 || accepted == 1);
        void *block = malloc(300000);
        CHECK(block != NULL);
        free(block);
    }
}

CASE(string_functions_allocate_with_the_library)
{
    for (int round = 0; round < 1000; round++) {
        char *copy = strdup("granule"), *part = strndup("granule", 4), *text = NULL;
        CHECK(strcmp(copy, "granule") == 0 && strcmp(part, "gran") == 0);
        CHECK_OP(asprintf(&text, "%s-%s-%0*d", copy, part, round, 7), ==, 13 + (round ? round : 1));
        CHECK_OP(malloc_usable_size(text), >, strlen(text));
        text = realloc(text, 5000);
        CHECK(strncmp(text, "granule-gran-", 13) == 0);
        free(copy);
        free(part);
        free(text);
    }
}

CASE(stream_functions_allocate_with_the_library)
{
    char *line = NULL, *memory = NULL;
    size_t capacity = 0, length = 0;
    FILE *stream = open_memstream(&memory, &length);

    CHECK(stream != NULL);
    for (int i = 0; i < 20000; i++)
        fprintf(stream, "%0*d\n", i % 500 + 1, i % 10);
    CHECK_OP(fclose(stream), ==, 0);
    CHECK_OP(malloc_usable_size(memory), >=, length);

    stream = fmemopen(memory, length, "r");
    CHECK(stream != NULL);
    for (int i = 0; i < 20000; i++)
        CHECK_OP(getline(&line, &capacity, stream), ==, i % 500 + 2);
    CHECK(getline(&line, &capacity, stream) == -1 && feof(stream));
    CHECK_OP(malloc_usable_size(line), >=, capacity);
    fclose(stream);
    free(line);
    free(memory);
}

CASE(system_functions_allocate_with_the_library)
{
    struct dirent **entries;
    char *here = getcwd(NULL, 0), *real = realpath("/proc/self/..", NULL);
    CHECK(here != NULL && strcmp(real, "/proc") == 0);
    free(here);
    free(real);

    int count = scandir("/proc/self", &entries, NULL, alphasort);
    CHECK_OP(count, >, 10);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);

    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "VARIABLE_%d", i);
        CHECK_OP(setenv(name, name, 1), ==, 0);
    }
    CHECK(strcmp(getenv("VARIABLE_199"), "VARIABLE_199") == 0);
    CHECK_OP(clearenv(), ==, 0);
}
