/* A library that allocates as the process ends, as destructors of globals do. */
#include <windows.h>

#include "granule.h"

__declspec(dllexport) int late(void)
{
    return 1;
}

BOOL WINAPI DllMain(HINSTANCE library, DWORD event, LPVOID reserved)
{
    (void)library;
    (void)reserved;
    if (event == DLL_PROCESS_DETACH)
        for (size_t i = 0; i < 64; i++)
            granule_free(granule_malloc(((size_t)5 << 20) + i * 5000));
    return TRUE;
}
