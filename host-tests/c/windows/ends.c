/* Ends while threads are inside the heap, some of them with a lock, which are no
 * more when `late.dll` allocates. */
#include <windows.h>

#include "granule.h"

__declspec(dllimport) int late(void);

/* Blocks that no cache holds: each call takes locks. */
__attribute__((noreturn)) static DWORD WINAPI work(LPVOID seed)
{
    unsigned random = (unsigned)(size_t)seed;
    void *blocks[40] = {0};
    for (size_t i = 0;; i = (i + 1) % 40) {
        random = random * 1664525 + 1013904223;
        granule_free(blocks[i]);
        blocks[i] = granule_malloc(((size_t)4 << 20) + (random >> 8) % 9000000);
    }
}

int main(void)
{
    for (size_t i = 1; i <= (size_t)(12 * late()); i++)
        CreateThread(NULL, 0, work, (LPVOID)(i * 77), 0, NULL);
    Sleep(100);
    return 0;
}
