/* bcryptprimitives.dll for wine 8, which lacks it: what Rust's standard library
 * takes from it, over the generator that Windows calls RtlGenRandom. */
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *to, unsigned long bytes);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *to, unsigned long long bytes)
{
    while (bytes > 0) {
        unsigned long part = bytes < 0x10000000 ? (unsigned long)bytes : 0x10000000;
        if (!SystemFunction036(to, part))
            return 0;
        to += part;
        bytes -= part;
    }
    return 1;
}
